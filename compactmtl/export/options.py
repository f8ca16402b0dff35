"""What a user can ask of an export, beyond the target."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

from compactmtl.board.recipe import WORKSPACE_BYTES, Batch, Size
from compactmtl.errors import UsageError
from compactmtl.parts import nearest

if TYPE_CHECKING:
    from compactmtl.export.stored import Stored

Precision = Literal["fp32", "fp16", "int8"]
Dialect = Literal["onnx", "tensorrt"]
"""Whose operators an ONNX file holds: ONNX Runtime's, or only those that TensorRT takes, too."""
ONNX_OPTIONS = frozenset({"opset", "simplify", "precision", "calibration", "max_drop"})
"""Which fields of ``Options`` shape an ONNX file, and so every artefact that is built from one."""
OPSET = 20
"""Newest operator set that the exporter's own operator library is written in."""
OPSETS = range(18, 24)
"""Operator sets that can be asked for."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of an export; a target takes some of them and refuses the others by name.

    Attributes:
        opset: ONNX operator set; None: the exporter's own choice.
        simplify: Let onnxsim simplify the ONNX file, if what it makes is equal and smaller.
        precision: The number format of weights and activations; it lives in the ONNX graph.
        calibration: Real samples that the ranges of ``int8`` come from: a data set
            (``rooms``, ``package.module:Dataset``), a folder of images, a pack (``.npz``), or the
            samples themselves. None: the real ones in the compact folder.
        max_drop: Task name to how much its error may grow by a lower precision; the layers that
            cost most stay in fp32 until it is so. The error is that of the task's own metric where
            there are labelled images (0.01 of mIoU: ``seg=0.01``), else the relative RMS of its
            output. Empty: no layer is held back.
        batch: Smallest, usual and largest batch size of an engine.
        size: Smallest, usual and largest image (H, W) of an engine.
        workspace_bytes: What an engine's kernels may use beside its tensors.
        compute_capabilities: GPUs to build for, as in ``8.9``; empty: the target's own choice.
        version_compatible: Let later versions of the runtime run the engine, too.
        host: Where to build an engine, as one would type it after ``ssh``; None: here.
        hardware_compatible: Let other GPUs than the one it is built on run the engine, too.
    """

    opset: int | None = None
    simplify: bool = False
    precision: Precision = "fp32"
    calibration: "Stored | str | None" = None
    max_drop: Mapping[str, float] = field(default_factory=dict)
    batch: Batch | None = None
    size: Size | None = None
    workspace_bytes: int = WORKSPACE_BYTES
    compute_capabilities: tuple[str, ...] = ()
    host: str | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False

    def check_taken(
        self, target: str, taken: frozenset[str], precisions: Sequence[Precision]
    ) -> None:
        """Refuse what differs from its default and is not among ``taken``, or contradicts itself.

        Raises:
            UsageError: Such an option is set, because a setting is never dropped silently; or its
                value is out of range.
        """
        if self.opset is not None:
            check_opset(self.opset)
        default = Options()
        for each in fields(self):
            if each.name not in taken and getattr(self, each.name) != getattr(default, each.name):
                raise UsageError(
                    f"target `{target}` takes no `{each.name}`",
                    hint=f"it takes: {', '.join(sorted(taken)) or 'no options'}",
                )
        if self.precision not in precisions:
            raise UsageError(
                f"target `{target}` writes no {self.precision}",
                hint=f"it writes: {', '.join(precisions)}",
            )
        for option, needed in (("calibration", ("int8",)), ("max_drop", ("fp16", "int8"))):
            if self.precision not in needed and getattr(self, option) != getattr(default, option):
                raise UsageError(
                    f"`{option}` means nothing in {self.precision}",
                    hint=f"add --precision {needed[-1]}, or leave it out",
                )

    def check_tasks(self, tasks: Collection[str]) -> None:
        """Refuse budgets of tasks that there are not, and limits that are no number from 0 on.

        Raises:
            UsageError: ``max_drop`` holds such a one.
        """
        for name, limit in self.max_drop.items():
            if name not in tasks:
                raise UsageError(
                    f"max_drop: there is no task `{name}`{nearest(name, tasks)}",
                    hint=f"there are: {', '.join(tasks)}",
                )
            if not (math.isfinite(limit) and limit >= 0):
                raise UsageError(
                    f"max_drop of `{name}` is {limit}, expected a number from 0 on",
                    hint=f"as in {name}=0.01",
                )


def check_opset(opset: int) -> None:
    """Refuse an operator set that cannot be written.

    Raises:
        UsageError: It is not one of ``OPSETS``.
    """
    if opset not in OPSETS:
        raise UsageError(
            f"opset (={opset}) must be one of {OPSETS.start} to {OPSETS.stop - 1}",
            hint=f"leave it out to get {OPSET}",
        )
