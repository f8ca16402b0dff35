"""Target ``openvino``: OpenVINO's IR, checked in OpenVINO on the CPU in fp32."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from compactmtl.board.openvino_session import OpenVinoSession, import_openvino
from compactmtl.environment import version
from compactmtl.export.base import Availability, Evidence, Exporter, Job, Runnable
from compactmtl.export.board_errors import translated
from compactmtl.export.openvino_model import read_onnx
from compactmtl.export.options import ONNX_OPTIONS, PRECISIONS, Dialect, Precision
from compactmtl.export.session import TranslatedSession
from compactmtl.export.sidecar import Sidecar, read_sidecar, write_sidecar
from compactmtl.files import write_together

if TYPE_CHECKING:  # saying what the targets are must not wait for torch
    from compactmtl.export.parity import Parity
    from compactmtl.export.stored import Array, Arrays


class OpenVinoExporter(Exporter):
    """Write OpenVINO's IR, ``.xml`` and ``.bin``, from an ONNX file.

    The ONNX file is the one with TensorRT's operators, because OpenVINO has no MaxUnpool either;
    networks without unpooling are the same in both. Weights are stored as they are in the ONNX
    file, never rounded to fp16 on the way.

    Supports:
        Every ONNX operator that OpenVINO's reader converts.
    Refuses:
        Any other, by name.
    Fidelity:
        The rule of ``parity.py``, with the precision hint f32; lower precision, which the ONNX file
        then holds, is run the same way and its deviation reported per task.
    """

    target: ClassVar[str] = "openvino"
    suffix: ClassVar[str] = ".xml"
    extra: ClassVar[str | None] = "openvino"
    precisions: ClassVar[tuple[Precision, ...]] = PRECISIONS
    takes: ClassVar[frozenset[str]] = ONNX_OPTIONS
    dialect: ClassVar[Dialect | None] = "tensorrt"
    evidence: ClassVar[Evidence] = "run on hardware"

    def availability(self) -> Availability:
        """Tell which OpenVINO is here; see ``Exporter.availability``."""
        found = version("openvino")
        why_not = "" if found else 'not installed: pip install "compactmtl[openvino]"'
        return Availability(version=found, runs_here=found is not None, why_not=why_not)

    def export(self, job: Job) -> Sidecar:
        """Write both files and the sidecar; see ``Exporter.export``."""
        import onnx

        from compactmtl.export.describe import describe
        from compactmtl.export.onnx_run import pool_indices, with_outputs

        with translated():
            openvino = import_openvino()
        assert job.source is not None
        source = onnx.load(job.source)
        pools = pool_indices(source)
        with write_together(job.path) as folder:
            xml = folder / job.path.name
            openvino.save_model(read_onnx(job.source.read_bytes()), xml, compress_to_fp16=False)
            shipped = Compiled(xml, job.path.name)
            probe = (
                Compiled(with_outputs(source, pools).SerializeToString(), "the probe")
                if pools
                else None
            )

            def probed(inputs: "Arrays") -> "tuple[dict[str, Array], list[Array]]":
                selected = probe(inputs) if probe else {}
                return shipped(inputs), [selected[name] for name in pools]

            if job.options.precision == "fp32":
                parity = job.check.parity(probed)
            else:
                parity = _measure(job, read_sidecar(job.source), shipped)
            sidecar = describe(
                job,
                self.target,
                (xml, xml.with_suffix(".bin")),
                parity,
                runtime=shipped.runtime,
                versions={name: version(name) for name in ("onnx", "openvino")},
            )
            write_sidecar(xml, sidecar)
        return sidecar

    def load(self, path: Path) -> Runnable:
        """Load an IR file in OpenVINO, on as many threads as torch uses; see ``Exporter.load``."""
        return Compiled(path, str(path))


def _measure(job: Job, source: Sidecar, shipped: Runnable) -> "Parity":
    """Measure in OpenVINO what the ONNX file in lower precision was measured by."""
    from compactmtl.export.precision.scores import scored_in_another_runtime

    parity = job.check.drift(shipped)
    parity.lowering = source.lowering
    metrics = scored_in_another_runtime(job.labelled, source.verified.per_task, shipped)
    for task, metric in metrics.items():
        parity.per_task[task] = parity.per_task[task].model_copy(update={"metric": metric})
    return parity


class Compiled(TranslatedSession):
    """A model in OpenVINO on the CPU, computing in fp32, on as many threads as torch uses."""

    def __init__(self, model: Path | bytes, name: str) -> None:
        import torch

        source = read_onnx(model) if isinstance(model, bytes) else model
        with translated():
            super().__init__(OpenVinoSession(source, threads=torch.get_num_threads(), name=name))
