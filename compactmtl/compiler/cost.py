"""What convolutions and gathers cost on the target; it decides speed, never correctness."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import fx

from compactmtl.compiler.value import fake_tensor
from compactmtl.errors import UsageError

WIDTHS = (4, 8, 16, 32)
"""Multiples that runtimes like; a width is only ever rounded up to one where that costs less."""


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
    """

    rows: int
    columns: int
    taps: int = 1
    groups: int = 1
    positions: int = 1
    in_positions: int = 1

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
class LatencyCost:
    """Weigh multiplications against the numbers a gather moves, in units of one multiplication.

    A runtime that computes in blocks of channels pays for whole blocks; where a count does not
    divide by ``align`` it computes without blocks, at the true counts but slower.

    Source of the defaults: ONNX Runtime on one x86-64 core with AVX-512; break-even of gathers at
    R/S of 0.25, 0.65 and 0.8 for 16, 64 and 256 outputs of a 1x1 convolution (48, 34 and 64
    multiplications per number moved); a 3x3 convolution without blocks takes 1.3 times as long per
    multiplication, a 1x1 convolution 1.07 times.
    """

    name: str = "ONNX Runtime"
    device: str = "x86-64 with AVX-512, 1 thread"
    unifies: bool = True
    block: int = 16
    align: int = 4
    macs_per_move: float = 45.0

    def conv(self, shape: ConvShape) -> float:
        """Count multiplications of whole blocks, or slower ones without blocks."""
        if shape.groups > 1:
            return shape.macs
        rows, columns = shape.rows, shape.columns
        if rows % self.align == 0 and (columns % self.align == 0 or columns < self.block):
            rows = math.ceil(rows / self.block) * self.block
            if columns >= self.block:
                columns = math.ceil(columns / self.block) * self.block
            return rows * columns * shape.taps * shape.positions
        return shape.macs * (1.3 if shape.taps > 1 else 1.07)

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        """Count the numbers that are moved."""
        return read * positions * self.macs_per_move


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


OBJECTIVES: dict[str, CostModel] = {
    "latency": LatencyCost(),
    "macs": MacsCost(),
    "params": ParamsCost(),
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
        objective = OBJECTIVES[objective]
    return objective if gather else WithoutGathers(objective)


def widths(least: int, most: int) -> Iterable[int]:
    """Return the widths worth a look: ``least``, rounded up to what runtimes like, and ``most``."""
    rounded = {math.ceil(least / multiple) * multiple for multiple in WIDTHS}
    return sorted({least, most, *(width for width in rounded if width < most)})


def cheapest_read(
    cost: CostModel,
    shape: Callable[[int], ConvShape],
    *,
    read: int,
    stored: int,
    widen: bool = True,
) -> tuple[float, int]:
    """Return cost and number of input channels of the cheapest exact way to read.

    Args:
        cost: The cost model.
        shape: The layer as it runs on that many input channels.
        read: Input channels with a column that is not zero.
        stored: Input channels that are there; ``read <= stored``.
        widen: Whether more than ``read`` and fewer than ``stored`` may be gathered.
    """
    options = []
    for width in widths(read, stored) if widen else (read, stored):
        layer = shape(width)
        total = cost.conv(layer)
        if width < stored:
            total += cost.gather(stored=stored, read=width, positions=layer.in_positions)
        options.append((total, width != stored, width))  # reading all that is there wins a tie
    total, _, width = min(options)
    return total, width


def conv_shape(node: fx.Node, *, rows: int, columns: int, groups: int = 1) -> ConvShape:
    """Return the shape of a captured convolution or linear layer at other channel counts.

    Free sizes count as in the example inputs.
    """
    weight, source = node.args[1], node.args[0]
    assert isinstance(weight, fx.Node)
    assert isinstance(source, fx.Node)
    is_conv = "conv" in str(node.target)
    turns = source if "transpose" in str(node.target) else node  # where each kernel is applied
    return ConvShape(
        rows=rows,
        columns=columns,
        taps=math.prod(weight.meta["val"].shape[2:]),
        groups=groups,
        positions=_positions(turns, is_conv=is_conv),
        in_positions=_positions(source, is_conv=is_conv),
    )


def _positions(node: fx.Node, *, is_conv: bool) -> int:
    """Return how many positions a value has per image: all but batch and channels."""
    tensor = fake_tensor(node)
    assert tensor is not None
    axes = tensor.shape[2:] if is_conv else tensor.shape[1:-1]
    return math.prod(size if isinstance(size, int) else size.node.hint for size in axes)
