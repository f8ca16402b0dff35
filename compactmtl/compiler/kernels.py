"""Which kernel ONNX Runtime's CPU provider takes for a layer, and how much work that is.

Found by looking at the graphs it optimises. Let ``block`` be its channel block (16 floats with
AVX-512, 8 with AVX2) and ``align`` the divisor it wants input channels to have (4):

- An ungrouped convolution is *blocked* where its input channels divide by ``align``: it pays for
  whole blocks of input and output channels. With fewer input channels than a block it is *direct*:
  it reads the plain layout and pays for whole blocks of outputs only. Else it is *plain*: im2col
  and a matrix product, at the true counts. The output channels do not matter for this choice.
- A depthwise convolution is blocked where its channels divide by ``align``; any other grouped one
  where the channels of a group divide by ``block`` on both sides.
- A pooling is blocked where its channels divide by ``block``.
- A value that changes between the blocked and the plain layout is reordered.
- An addition to the output of a blocked convolution, and the activation behind it, are done within
  the convolution; in the plain layout they are passes over memory of their own.

Work is a sum of terms, each of which never falls as a channel is added within one kernel, so with
rates that are not negative so is the time.
"""

import math
from typing import Final, Protocol

Work = dict[tuple[str, str], float]
"""Kernel and term -> how much of it."""

TERMS: Final[dict[str, tuple[str, ...]]] = {
    "pointwise.blocked": ("calls", "macs", "weights", "outputs"),
    "pointwise.direct": ("calls", "macs", "outputs"),
    "pointwise.plain": ("calls", "macs", "weights", "outputs", "taken"),
    "spatial.blocked": ("calls", "macs", "passes", "borders", "weights", "outputs"),
    "spatial.direct": ("calls", "macs", "passes", "borders", "outputs"),
    "spatial.plain": ("calls", "macs", "weights", "outputs", "taken"),
    "depthwise.blocked": ("calls", "macs", "borders", "channels", "outputs"),
    "depthwise.plain": ("calls", "macs", "borders", "channels", "outputs"),
    "grouped.blocked": ("calls", "groups", "macs", "inputs", "outputs"),
    "grouped.plain": ("calls", "groups", "macs", "weights", "outputs", "taken"),
    "grouped pointwise.blocked": ("calls", "groups", "macs", "inputs", "outputs"),
    "grouped pointwise.plain": ("calls", "groups", "macs", "weights", "outputs", "taken"),
    "linear": ("calls", "weights", "rows", "columns"),
    "to blocked": ("calls", "numbers"),
    "to plain": ("calls", "numbers"),
    "gather": ("calls", "channels", "numbers"),
    "addition": ("calls", "numbers"),
}
"""Per kernel the terms of its time.

Where a name does not say it: "taken", numbers that im2col writes; "borders", multiplications by
taps that hang over an edge; "passes", numbers that are read, once for ``PASS`` blocks of outputs.
"""

PASS: Final = 4


class Layer(Protocol):
    """What is known of a convolution or linear layer: ``ConvShape``."""

    @property
    def rows(self) -> int:
        """Output channels, all groups together."""

    @property
    def columns(self) -> int:
        """Input channels, all groups together."""

    @property
    def taps(self) -> int:
        """Kernel positions."""

    @property
    def groups(self) -> int:
        """Groups."""

    @property
    def positions(self) -> int:
        """Output positions."""

    @property
    def in_positions(self) -> int:
        """Input positions."""

    @property
    def pooled(self) -> bool:
        """Whether a pooling follows."""


def ceil_to(count: int, multiple: int) -> int:
    """Return the next multiple of ``multiple`` from ``count`` up."""
    return -(-count // multiple) * multiple


def kernel(layer: Layer, *, align: int, block: int) -> str:
    """Return the kernel of a layer; ``block`` is 1 where the runtime has no blocked kernels."""
    if layer.taps == 1 and layer.positions == 1 and layer.groups == 1:
        return "linear"
    if layer.groups == 1:
        kind = "pointwise" if layer.taps == 1 else "spatial"
        if layer.columns < block:
            return f"{kind}.direct"
        blocked = layer.columns % align == 0
    elif layer.groups == layer.rows == layer.columns:
        kind, blocked = "depthwise", layer.rows % align == 0
    else:
        kind = "grouped pointwise" if layer.taps == 1 else "grouped"
        each = (layer.rows // layer.groups, layer.columns // layer.groups)
        blocked = each[0] % block == 0 and each[1] % block == 0
    return f"{kind}.blocked" if blocked and block > 1 else f"{kind}.plain"


def work(layer: Layer, *, align: int, block: int) -> Work:
    """Return the work of a layer by itself, without changes of layout around it."""
    name = kernel(layer, align=align, block=block)
    groups, positions = layer.groups, layer.positions
    rows, columns = layer.rows // groups, layer.columns // groups
    if not name.endswith(".plain") and name != "linear":
        rows = ceil_to(rows, block)
        if name.endswith(".blocked"):
            columns = ceil_to(columns, block)
    if name.startswith("depthwise"):
        channels = ceil_to(groups, block) if name.endswith(".blocked") else groups
        rows, columns, groups = channels, 1, 1
    weights = groups * rows * columns * layer.taps
    side = math.sqrt(positions)
    amounts = {
        "calls": 1,
        "groups": groups,
        "macs": weights * positions,
        "passes": math.ceil(rows / (PASS * block)) * columns * layer.taps * positions,
        # Along two edges of each line and column a kernel of k taps hangs over by (k - 1) / 2.
        "borders": weights * side * (math.sqrt(layer.taps) - 1),
        "weights": weights,
        "channels": rows,
        "rows": rows,
        "columns": columns,
        "inputs": groups * columns * layer.in_positions,
        "outputs": groups * rows * positions,
        "taken": groups * columns * layer.taps * positions,
    }
    return {(name, term): amounts[term] for term in TERMS[name]}


def reorder(channels: int, positions: int, *, to: str, block: int) -> Work:
    """Return the work of changing a value's layout ``to`` "blocked" or "plain"."""
    name = f"to {to}"
    return {(name, "calls"): 1, (name, "numbers"): ceil_to(channels, block) * positions}


def gather(channels: int, positions: int) -> Work:
    """Return the work of a gather of ``channels`` channels in the plain layout."""
    return {
        ("gather", "calls"): 1,
        ("gather", "channels"): channels,
        ("gather", "numbers"): channels * positions,
    }


def addition(channels: int, positions: int) -> Work:
    """Return the work of an addition and its activation in the plain layout."""
    return {("addition", "calls"): 1, ("addition", "numbers"): channels * positions}
