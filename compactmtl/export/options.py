"""What a user can ask of an export, beyond the target."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

from compactmtl.board.recipe import WORKSPACE_BYTES, Batch, Size
from compactmtl.errors import UsageError

if TYPE_CHECKING:
    from compactmtl.export.stored import Stored

Precision = Literal["fp32", "fp16", "int8"]
Dialect = Literal["onnx", "tensorrt"]
"""Whose operators an ONNX file holds: ONNX Runtime's, or only those that TensorRT takes, too."""
ONNX_OPTIONS = frozenset({"opset"})
"""Which fields of ``Options`` shape an ONNX file, and so every artefact that is built from one."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of an export; a target takes some of them and refuses the others by name.

    Attributes:
        opset: ONNX operator set; None: the exporter's own choice.
        precision: The number format of weights and activations; it lives in the ONNX graph.
        calibration: Real samples that the ranges of ``int8`` come from.
        max_drop: Task name to how much its error may grow by a lower precision; layers that cost
            more than that keep the higher one. Empty: no layer is held back.
        batch: Smallest, usual and largest batch size of an engine.
        size: Smallest, usual and largest image (H, W) of an engine.
        workspace_bytes: What an engine's kernels may use beside its tensors.
        compute_capabilities: GPUs to build for, as in ``8.9``; empty: the target's own choice.
        version_compatible: Let later versions of the runtime run the engine, too.
        hardware_compatible: Let other GPUs than the one it is built on run the engine, too.
    """

    opset: int | None = None
    precision: Precision = "fp32"
    calibration: "Stored | None" = None
    max_drop: Mapping[str, float] = field(default_factory=dict)
    batch: Batch | None = None
    size: Size | None = None
    workspace_bytes: int = WORKSPACE_BYTES
    compute_capabilities: tuple[str, ...] = ()
    version_compatible: bool = False
    hardware_compatible: bool = False

    def check_taken(self, target: str, taken: frozenset[str]) -> None:
        """Refuse what differs from its default and is not among ``taken``.

        Raises:
            UsageError: Such an option is set; a setting is never dropped silently.
        """
        default = Options()
        for each in fields(self):
            if each.name not in taken and getattr(self, each.name) != getattr(default, each.name):
                raise UsageError(
                    f"target `{target}` takes no `{each.name}`",
                    hint=f"it takes: {', '.join(sorted(taken)) or 'no options'}",
                )
