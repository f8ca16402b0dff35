"""Write a compact model for a runtime, run it there, and compare it with the model.

Nothing heavy is imported before a target is used: the bench reads sidecars without torch.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compactmtl.errors import UsageError
from compactmtl.export.options import Options
from compactmtl.parts import nearest

if TYPE_CHECKING:
    from compactmtl.compact import CompactModel
    from compactmtl.export.base import Exporter, Progress, Which
    from compactmtl.export.sidecar import Sidecar
    from compactmtl.export.stored import Array, Stored


def _onnx() -> "Exporter":
    from compactmtl.export.onnx import OnnxExporter

    return OnnxExporter()


def _tensorrt() -> "Exporter":
    from compactmtl.export.tensorrt import TensorRtExporter

    return TensorRtExporter()


def _openvino() -> "Exporter":
    from compactmtl.export.openvino import OpenVinoExporter

    return OpenVinoExporter()


def _tensorrt_rtx() -> "Exporter":
    from compactmtl.export.tensorrt_rtx import TensorRtRtxExporter

    return TensorRtRtxExporter()


def _pt2() -> "Exporter":
    from compactmtl.export.pt2_program import Pt2Exporter

    return Pt2Exporter()


def _litert() -> "Exporter":
    from compactmtl.export.litert import LiteRtExporter

    return LiteRtExporter()


def _executorch() -> "Exporter":
    from compactmtl.export.executorch import ExecuTorchExporter

    return ExecuTorchExporter()


def _coreml() -> "Exporter":
    from compactmtl.export.coreml import CoreMlExporter

    return CoreMlExporter()


TARGETS: dict[str, Callable[[], "Exporter"]] = {
    "onnx": _onnx,
    "tensorrt": _tensorrt,
    "tensorrt-rtx": _tensorrt_rtx,
    "openvino": _openvino,
    "pt2": _pt2,
    "litert": _litert,
    "executorch": _executorch,
    "coreml": _coreml,
}
"""Target name to a function that imports and makes its exporter."""


def find_target(name: str) -> "Exporter":
    """Return the exporter of a target.

    Raises:
        UsageError: There is no such target; the hint lists those there are.
    """
    if name not in TARGETS:
        raise UsageError(
            f"no export target called `{name}`{nearest(name, TARGETS)}",
            hint=f"there are: {', '.join(TARGETS)}",
        )
    return TARGETS[name]()


def export(
    compact: "CompactModel | str | Path",
    path: str | Path,
    *,
    target: str = "onnx",
    which: "Which" = "compact",
    options: Options | None = None,
    inputs: "Mapping[str, Array] | Stored | None" = None,
    progress: "Progress | None" = None,
) -> "Sidecar":
    """Write a compact model for a runtime, checked in that runtime against the model.

    Writes the artefact, its sidecar ``<path>.json`` and, for the compact model, ``reference.npz``
    beside it: the inputs of the check (``input.<name>``) and the outputs torch computes for them in
    fp64, rounded to fp32 (``output.<name>``).

    Args:
        compact: A compact model, or the folder that ``compress`` wrote.
        path: Where the artefact goes.
        target: One of ``TARGETS``.
        which: The compact model, or ``dense`` for its dense twin.
        options: Precision, operator set and what else the target takes; None: its defaults.
        inputs: Samples to check with, by input name, or ``Stored`` with their origin; None: the
            folder's ``inputs.npz``, or random ones where ``compact`` is no folder.
        progress: Called while a search runs, with the steps done and how many there are at most.

    Returns:
        The sidecar: interface, parity per task, versions.

    Raises:
        UsageError: There is no such target, or it takes not one of the options.
        MissingFileError: The folder is not one that ``compress`` wrote.
        ExportError: The target cannot take the model, or computes something else; then nothing is
            written.
    """
    exporter = find_target(target)
    from compactmtl.export.write import write

    return write(
        exporter,
        compact,
        Path(path),
        which=which,
        options=options or Options(),
        inputs=inputs,
        progress=progress,
    )
