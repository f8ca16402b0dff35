"""Values of a target that its kind of task does not allow, or that betray a wrong unit."""

import torch
from torch import Tensor

from compactmtl.errors import DataError
from compactmtl.multitask.binary import Binary
from compactmtl.multitask.depth import Depth
from compactmtl.multitask.labels import LabelTask
from compactmtl.multitask.normals import Normals
from compactmtl.multitask.task import Task

FARTHEST_M = 1000.0
"""A depth beyond is taken for millimetres."""
LENGTH_TOLERANCE, BAD_SHARE = 0.05, 0.01
"""A normal's length may differ from 1 by so much; this share of them by more."""


def check_values(task: Task, target: Tensor, index: int) -> None:
    """Check the values of one unbatched target.

    Raises:
        DataError: A label out of range; depth that is negative, or in another unit than metres;
            normals that are no unit vectors.
    """
    where = f"sample {index}, task `{task.name}`"
    try:
        if isinstance(task, LabelTask | Binary):
            task.check_labels(target)
    except DataError as error:
        raise DataError(f"sample {index}: {error.message}", hint=error.hint) from error
    if isinstance(task, Depth):
        _check_depth(target, where)
    elif isinstance(task, Normals):
        _check_normals(target, task.valid(target.unsqueeze(0))[0], where)


def _check_depth(target: Tensor, where: str) -> None:
    finite = target[target.isfinite()]
    if not finite.numel():
        return
    if float(finite.min()) < 0:
        raise DataError(
            f"{where}: depth of {float(finite.min()):g}, expected metres, 0 where it is not known"
        )
    if float(finite.max()) > FARTHEST_M:
        raise DataError(
            f"{where}: depth up to {float(finite.max()):g}, expected metres",
            hint="divide millimetres by 1000",
        )


def _check_normals(target: Tensor, valid: Tensor, where: str) -> None:
    lengths = torch.linalg.vector_norm(target[:, valid], dim=0)
    off = (lengths - 1).abs() > LENGTH_TOLERANCE
    if int(off.sum()) > BAD_SHARE * lengths.numel():
        raise DataError(
            f"{where}: {int(off.sum())} of {lengths.numel()} normals have another length than 1, "
            f"from {float(lengths.min()):.3g} to {float(lengths.max()):.3g}",
            hint="were they stored as colours? n = 2 c - 1; not known is (0, 0, 0)",
        )
