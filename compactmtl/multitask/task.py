"""What one task is: how its output is scored, compared with its target, and drawn."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric

from compactmtl.errors import DataError

# Shape suffixes in comments: N batch, C channels of the head, H, W image size.


class Task(ABC):
    """One output of a multi-task network.

    The network's head yields *raw* outputs of shape (N, C, H, W); what they mean is the task's
    business alone. A target is one tensor whose pixels may be marked invalid in the way of its
    kind (a label of -1, a depth of 0, NaN, ...): a sample that lacks the task is a target with
    nothing valid, see ``missing``. So losses and metrics need no mask beside the target.

    Two kinds of output are no such tensor. Things found (boxes with masks) are as many as an image
    holds: raw outputs and batched targets are lists, one entry per image, and ``check_target`` and
    ``stack`` say what a target is and how targets become a batch. The loss of such a task needs
    the targets inside the network, which chooses by them what its heads look at; a network that
    sets ``takes_targets = True`` is called as ``network(images, targets)`` in training and then
    returns in the place of a raw output what the task's ``loss`` expects, see ``losses.outputs``.
    And an output may be made of the outputs of other tasks, by a rule that does not learn: its
    task sets ``trained = False``. It is scored and drawn, but has no loss and no weight.

    A subclass sets ``kind``, ``primary`` and ``higher_is_better`` and takes ``name`` first.
    """

    kind: ClassVar[str]
    """The word a recipe uses."""
    primary: ClassVar[str]
    """The metric that ranks two models."""
    higher_is_better: ClassVar[bool]
    """Direction of ``primary``."""
    per_pixel: ClassVar[bool] = True
    """Whether there is a target per pixel; else raw outputs are (N, C), and what is said of H and W
    here falls away."""

    trained: ClassVar[bool] = True
    """Whether the network learns the task; else it is only scored, and has no loss."""

    def __init__(self, name: str, num_channels: int) -> None:
        self.name = name
        self.num_channels = num_channels

    @abstractmethod
    def valid(self, target: Any) -> Tensor:
        """Tell which pixels of a batched target count, as a bool tensor (N, H, W)."""

    def count(self, target: Any) -> Tensor:
        """Return over how much of a batched target ``loss`` is a mean, an integer scalar.

        It says how much a part of a batch counts in the loss of the whole.
        """
        return self.valid(target).sum()

    @abstractmethod
    def missing(self, height: int, width: int) -> Any:
        """Return an unbatched target of this size in which nothing is valid."""

    def check_target(self, target: object, blank: Any, where: str) -> None:
        """Check an unbatched target against one of the right form.

        Args:
            target: What a data set yields.
            blank: ``missing`` at the size of the image.
            where: Begins the message.

        Raises:
            DataError: It is no tensor, or of another dtype or shape.
        """
        if not isinstance(target, Tensor):
            raise DataError(f"{where} is a {type(target).__name__}, expected a tensor")
        if target.dtype != blank.dtype:
            raise DataError(f"{where} is {target.dtype}, expected {blank.dtype}")
        if target.shape != blank.shape:
            raise DataError(
                f"{where} has shape {tuple(target.shape)}, expected {tuple(blank.shape)}"
            )

    def stack(self, targets: Sequence[Any]) -> Any:
        """Return checked targets as one batch."""
        return torch.stack(list(targets))

    @abstractmethod
    def loss(self, raw: Any, target: Any) -> Tensor:
        """Return the mean loss over valid pixels, a scalar; exactly 0 (with a graph) if none is."""

    @abstractmethod
    def metric(self) -> Metric:
        """Return a fresh metric: ``update(raw, target)``, ``compute()`` -> {name: scalar tensor}.

        Its result does not depend on how samples are batched, and holds ``primary``.
        """

    @abstractmethod
    def predict(self, raw: Any) -> Any:
        """Turn raw outputs (N, C, H, W) into predictions in the form of a target."""

    @abstractmethod
    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return the raw outputs (C,) of the best constant predictors for these targets (N, ...).

        A network that does not beat all of them has learned nothing.
        """

    def floor(self) -> Mapping[str, float] | None:
        """Return the metrics of predicting nothing, where that is the best constant; else None."""
        return None

    @abstractmethod
    def picture(self, target: Any) -> npt.NDArray[np.uint8]:
        """Draw one unbatched target or prediction as RGB (H, W, 3), 0 to 255."""

    def spec(self) -> dict[str, Any]:
        """Return what rebuilds this task, as JSON: ``kind``, ``num_channels`` and its arguments."""
        return {"kind": self.kind, "num_channels": self.num_channels}

    def error(self, metrics: dict[str, float]) -> float:
        """Return the primary metric as an error, lower is better and 0 is perfect."""
        value = metrics[self.primary]
        return 1.0 - value if self.higher_is_better else value


def trained(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Return the tasks that the network learns, in their order."""
    return {name: task for name, task in tasks.items() if task.trained}


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of ``values`` where ``valid``; 0 with a graph where nothing is valid.

    Both have one shape. NaN at invalid places does not spread, neither forward nor backward,
    provided ``values`` was computed from targets that were cleaned there.
    """
    total = torch.where(valid, values, torch.zeros_like(values)).sum()
    return total / valid.sum().clamp(min=1)
