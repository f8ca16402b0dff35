"""What the metrics of all kinds share: checks before, sums over valid pixels, a result after."""

from abc import abstractmethod

import torch
from torch import Tensor
from torchmetrics import Metric

from compactmtl.errors import DataError, NonFiniteError
from compactmtl.multitask.task import Task


def check_sizes(task: Task, raw: Tensor, target: Tensor) -> None:
    """Check that raw outputs (N, C, H, W) fit a task and its batched target (N, ..., H, W).

    Raises:
        DataError: Other number of channels, samples, rows or columns; the message names both sizes.
    """
    fits = raw.ndim >= 2 and raw.shape[1] == task.num_channels and raw.shape[0] == target.shape[0]
    if not task.per_pixel:
        if not (fits and raw.ndim == 2 and target.ndim == 1):
            raise DataError(
                f"task `{task.name}`: raw output is {tuple(raw.shape)} and target is "
                f"{tuple(target.shape)}; expected (N, {task.num_channels}) and (N,)",
                hint="the network's head must pool its features: one output per image",
            )
        return
    fits = fits and raw.ndim == 4 and target.ndim >= 3 and raw.shape[-2:] == target.shape[-2:]
    if not fits:
        raise DataError(
            f"task `{task.name}`: raw output is {tuple(raw.shape)} and target is "
            f"{tuple(target.shape)}; expected (N, {task.num_channels}, H, W) and the same N, H, W",
            hint="the network's output must have the size of the target; resize one of them",
        )


def working(raw: Tensor) -> Tensor:
    """Return raw outputs in at least float32, for losses under reduced precision."""
    return raw.to(torch.promote_types(raw.dtype, torch.float32))


class TaskMetric(Metric):
    """A metric over all valid pixels of a split, from states that add up.

    Every state is a sum or a count in float64 or int64, so neither the order nor the size of
    batches matters, and processes of a distributed run add theirs.
    """

    full_state_update = False
    num_pixels: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.add_count("num_pixels")

    def add_count(self, name: str, *shape: int) -> None:
        """Add an integer state."""
        self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def add_sum(self, name: str) -> None:
        """Add a float64 state."""
        self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, raw: Tensor, target: Tensor) -> None:
        """Count one batch.

        Raises:
            DataError: Raw output and target differ in size.
            NonFiniteError: The raw output holds NaN or Inf.
        """
        check_sizes(self.task, raw, target)
        if not bool(torch.isfinite(raw).all()):
            bad = int((~torch.isfinite(raw)).sum())
            raise NonFiniteError(
                f"task `{self.task.name}`: {bad} of {raw.numel()} raw output values are NaN or Inf",
                hint="lower the learning rate, or look for the first layer that overflows",
            )
        valid = self.task.valid(target)
        self.num_pixels += valid.sum()
        self.count(raw, target, valid)

    def compute(self) -> dict[str, Tensor]:
        """Return all metrics as float64 scalars, the primary one first.

        Raises:
            DataError: No pixel was valid, so there is nothing to measure.
        """
        if int(self.num_pixels) == 0:
            raise DataError(
                f"task `{self.task.name}`: not one valid pixel in what was evaluated",
                hint="does the data set use this task's name and its way to mark invalid pixels?",
            )
        return self.result()

    def per_class(self) -> dict[str, float]:
        """Return a figure per class, by the class's name; empty for tasks without classes."""
        return {}

    @abstractmethod
    def count(self, raw: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add one checked batch to the states."""

    @abstractmethod
    def result(self) -> dict[str, Tensor]:
        """Return the metrics, given at least one valid pixel."""


def pick(values: Tensor, valid: Tensor) -> Tensor:
    """Return ``values`` (N, C, H, W) at the P valid pixels (N, H, W), as float64 (C, P)."""
    return values.movedim(1, 0)[:, valid].double()


def some(task: Task, values: Tensor) -> Tensor:
    """Return ``values`` (C, P) if there is at least one pixel.

    Raises:
        DataError: There is none, so no constant can be fitted.
    """
    if values.shape[-1] == 0:
        raise DataError(f"task `{task.name}`: not one valid pixel to fit a constant predictor to")
    return values
