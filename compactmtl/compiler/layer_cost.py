"""What a captured layer costs at other channel counts, and the cheapest way to read its input."""

import math
from collections.abc import Callable, Iterable

from torch import fx

from compactmtl.compiler.cost import ConvShape, CostModel
from compactmtl.compiler.value import fake_tensor

WIDTHS = (4, 8, 16, 32)
"""Multiples that runtimes like; a width is only ever rounded up to one where that costs less."""


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
    base: int | None = None,
) -> tuple[float, int]:
    """Return cost and number of input channels of the cheapest exact way to read.

    Args:
        cost: The cost model.
        shape: The layer as it runs on that many input channels.
        read: Input channels with a column that is not zero.
        stored: Input channels that are there; ``read <= stored``.
        widen: Whether more than ``read`` and fewer than ``stored`` may be gathered.
        base: Where what is there is a selection, the channels of what it selects from: all that is
            read is gathered from these. None: it is stored as it is.
    """
    options = []
    for width in widths(read, stored) if widen else (read, stored):
        layer = shape(width)
        total = cost.conv(layer)
        if width < stored or base is not None:
            total += cost.gather(
                stored=stored if base is None else base, read=width, positions=layer.in_positions
            )
        options.append((total, width != stored, width))  # reading all that is there wins a tie
    total, _, width = min(options)
    return total, width


def conv_shape(
    node: fx.Node, *, rows: int, columns: int, groups: int = 1, pooled: bool = False
) -> ConvShape:
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
        pooled=pooled,
    )


def _positions(node: fx.Node, *, is_conv: bool) -> int:
    """Return how many positions a value has per image: all but batch and channels."""
    tensor = fake_tensor(node)
    assert tensor is not None
    axes = tensor.shape[2:] if is_conv else tensor.shape[1:-1]
    return math.prod(size if isinstance(size, int) else size.node.hint for size in axes)
