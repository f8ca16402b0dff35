"""What one task is: how its output is scored, compared with its target, and drawn."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric

# Shape suffixes in comments: N batch, C channels of the head, H, W image size.


class Task(ABC):
    """One output of a multi-task network.

    The network's head yields *raw* outputs of shape (N, C, H, W); what they mean is the task's
    business alone. A target is one tensor whose pixels may be marked invalid in the way of its
    kind (a label of -1, a depth of 0, NaN, ...): a sample that lacks the task is a target with
    nothing valid, see ``missing``. So losses and metrics need no mask beside the target.

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

    def __init__(self, name: str, num_channels: int) -> None:
        self.name = name
        self.num_channels = num_channels

    @abstractmethod
    def valid(self, target: Tensor) -> Tensor:
        """Tell which pixels of a batched target count, as a bool tensor (N, H, W)."""

    @abstractmethod
    def missing(self, height: int, width: int) -> Tensor:
        """Return an unbatched target of this size in which nothing is valid."""

    @abstractmethod
    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss over valid pixels, a scalar; exactly 0 (with a graph) if none is."""

    @abstractmethod
    def metric(self) -> Metric:
        """Return a fresh metric: ``update(raw, target)``, ``compute()`` -> {name: scalar tensor}.

        Its result does not depend on how samples are batched, and holds ``primary``.
        """

    @abstractmethod
    def predict(self, raw: Tensor) -> Tensor:
        """Turn raw outputs (N, C, H, W) into predictions in the form of a target."""

    @abstractmethod
    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return the raw outputs (C,) of the best constant predictors for these targets (N, ...).

        A network that does not beat all of them has learned nothing.
        """

    @abstractmethod
    def picture(self, target: Tensor) -> npt.NDArray[np.uint8]:
        """Draw one unbatched target or prediction as RGB (H, W, 3), 0 to 255."""

    def spec(self) -> dict[str, Any]:
        """Return what rebuilds this task, as JSON: ``kind``, ``num_channels`` and its arguments."""
        return {"kind": self.kind, "num_channels": self.num_channels}

    def error(self, metrics: dict[str, float]) -> float:
        """Return the primary metric as an error, lower is better and 0 is perfect."""
        value = metrics[self.primary]
        return 1.0 - value if self.higher_is_better else value


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of ``values`` where ``valid``; 0 with a graph where nothing is valid.

    Both have one shape. NaN at invalid places does not spread, neither forward nor backward,
    provided ``values`` was computed from targets that were cleaned there.
    """
    total = torch.where(valid, values, torch.zeros_like(values)).sum()
    return total / valid.sum().clamp(min=1)
