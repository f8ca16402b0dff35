"""What convolutions and gathers cost on the target; it decides speed, never correctness."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from compactmtl.compiler.table import CostTable, default_table
from compactmtl.errors import UsageError


@dataclass(frozen=True)
class ConvShape:
    """One convolution or linear layer as it would run on one image.

    Attributes:
        rows: Output channels, all groups together.
        columns: Input channels, all groups together.
        taps: Kernel positions; 1 for a linear layer.
        groups: Groups; ``columns`` for a depthwise convolution.
        positions: Output positions, height times width (of a transposed convolution: input
            positions); 1 for a linear layer on a vector.
        in_positions: Input positions.
        pooled: Whether a pooling follows, behind ops that keep the channels' layout in memory.
    """

    rows: int
    columns: int
    taps: int = 1
    groups: int = 1
    positions: int = 1
    in_positions: int = 1
    pooled: bool = False

    @property
    def num_params(self) -> int:
        """Return the number of weights."""
        return self.rows * self.columns * self.taps // self.groups

    @property
    def macs(self) -> int:
        """Return the multiply-accumulate operations."""
        return self.num_params * self.positions


class CostModel(Protocol):
    """Chooses between exact alternatives: the compiler takes the smaller sum of costs."""

    @property
    def name(self) -> str:
        """What is counted, for the report."""

    @property
    def device(self) -> str:
        """What it was measured on; "" where nothing was measured."""

    @property
    def unifies(self) -> bool:
        """Whether all values of a residual stream keep the same channels.

        Its additions need no slices then, and a runtime can fuse them into the convolutions.
        """

    def conv(self, shape: ConvShape) -> float:
        """Return the cost of one convolution or linear layer, in any unit."""

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        """Return the cost of bringing ``read`` of ``stored`` channels together, in that unit."""


@dataclass(frozen=True)
class MacsCost:
    """Count multiplications alone: a gather costs nothing."""

    name: str = "multiplications"
    device: str = ""
    unifies: bool = False

    def conv(self, shape: ConvShape) -> float:
        """Count multiplications."""
        return shape.macs

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        """Count nothing."""
        return 0.0


@dataclass(frozen=True)
class ParamsCost:
    """Count parameters alone: an index is none."""

    name: str = "parameters"
    device: str = ""
    unifies: bool = False

    def conv(self, shape: ConvShape) -> float:
        """Count weights."""
        return shape.num_params

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        """Count nothing."""
        return 0.0


@dataclass(frozen=True)
class WithoutGathers:
    """A cost model under which no layer gathers, and no value is sliced."""

    model: CostModel
    unifies: bool = True

    @property
    def name(self) -> str:
        """Say what it forbids."""
        return f"{self.model.name}, no gathers"

    @property
    def device(self) -> str:
        """Return that of the model."""
        return self.model.device

    def conv(self, shape: ConvShape) -> float:
        """Cost what it costs in the model."""
        return self.model.conv(shape)

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        """Cost more than anything."""
        return math.inf


OBJECTIVES: dict[str, Callable[[], CostModel]] = {
    "latency": default_table,
    "macs": MacsCost,
    "params": ParamsCost,
}


def cost_model(objective: str | CostModel, *, gather: bool = True) -> CostModel:
    """Return the cost model of an objective, or the object that was given as one.

    Args:
        objective: A name, or a cost model.
        gather: Whether gathers are allowed.

    Raises:
        UsageError: No such objective.
    """
    if isinstance(objective, str):
        if objective not in OBJECTIVES:
            raise UsageError(
                f"objective `{objective}` is unknown, expected one of {', '.join(OBJECTIVES)}"
            )
        objective = OBJECTIVES[objective]()
    return objective if gather else WithoutGathers(objective)


def fast_columns(model: CostModel, count: int) -> int:
    """Return how many channels layers best read where they need ``count``: not fewer."""
    if isinstance(model, WithoutGathers):
        model = model.model
    return model.fast_columns(count) if isinstance(model, CostTable) else count
