"""Write channel splits and shuffles in the one form that the rules know."""

from typing import Any

import torch
from torch import Tensor, fx

from compactmtl.compiler.value import fake_tensor, symbolic_shape

aten = torch.ops.aten

SPLITS = frozenset({
    "chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split",
    "unsafe_split_with_sizes",
})  # fmt: skip
RESHAPES = frozenset({"view", "reshape", "flatten", "unflatten", "_unsafe_view"})
SWAPS = frozenset({"transpose", "swapaxes", "swapdims"})
COPIES = frozenset({"contiguous", "clone"})
CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
END = 2**63 - 1  # what torch.export writes for a slice without an end


def canonicalise(module: fx.GraphModule, written: set[fx.Node]) -> None:
    """Rewrite the graph of ``module`` in place; every value stays bit for bit the same.

    Rewrites:
        1. ``split(x, ..., axis)[i]``, all kinds of split, and ``narrow(x, axis, ...)`` become
           ``slice(x, axis, start, end)``.
        2. ``unbind(x, axis)[i]`` becomes ``select(x, axis, i)``.
        3. A slice that takes everything goes.
        4. A view that splits the channels into factors, a permutation of these factors and a view
           back, and ``channel_shuffle``, become ``index_select`` with a constant index.
        4. A convolution's padding "same" or "valid" becomes a number.

    Leaves alone: padding "same" that differs between the sides, views that mix channels with
    positions or the batch, and memory in ``written``.
    """
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node in written:
            continue
        name = _name(node)
        if name == "getitem" and _name(node.args[0]) == "unbind":
            _unbind_to_select(node, written)
        elif name == "getitem":
            _split_to_slice(node, written)
        elif name == "narrow":
            _narrow_to_slice(node)
        elif name == "slice":
            _drop_full_slice(node)
        elif name in CONVOLUTIONS:
            _padding_to_numbers(node, name)
        elif name == "channel_shuffle" or name in RESHAPES:
            _shuffle_to_select(module, node, written)


def _name(node: fx.Node) -> str:
    target = node.target
    packet = getattr(target, "overloadpacket", None)
    return str(getattr(packet if packet is not None else target, "__name__", target))


def _replace(node: fx.Node, new: fx.Node) -> None:
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    node.graph.erase_node(node)


def _split_to_slice(node: fx.Node, written: set[fx.Node]) -> None:
    split, index = node.args
    if not isinstance(split, fx.Node) or _name(split) not in SPLITS or split in written:
        return
    parts = split.meta["val"]
    axis = split.args[2] if len(split.args) > 2 else split.kwargs.get("dim", 0)
    if not isinstance(axis, int) or not isinstance(index, int):
        return
    sizes = [part.shape[axis] for part in parts]
    if all(isinstance(size, int) for size in sizes):
        start = sum(sizes[: index % len(sizes)])
        _slice(node, split.args[0], axis % parts[0].ndim, start, start + sizes[index])


def _unbind_to_select(node: fx.Node, written: set[fx.Node]) -> None:
    unbind, index = node.args
    assert isinstance(unbind, fx.Node)
    if unbind in written:
        return
    axis = unbind.args[1] if len(unbind.args) > 1 else unbind.kwargs.get("dim", 0)
    with node.graph.inserting_before(node):
        new = node.graph.call_function(aten.select.int, (unbind.args[0], axis, index))
    _replace(node, new)


def _narrow_to_slice(node: fx.Node) -> None:
    source, axis, start, length = node.args
    if isinstance(axis, int) and isinstance(start, int) and isinstance(length, int):
        size = source.meta["val"].shape[axis]  # type: ignore[union-attr]
        if isinstance(size, int):
            start = start + size if start < 0 else start
            _slice(node, source, axis % node.meta["val"].ndim, start, start + length)


def _slice(node: fx.Node, source: object, axis: int, start: int, end: int) -> None:
    with node.graph.inserting_before(node):
        new = node.graph.call_function(aten.slice.Tensor, (source, axis, start, end))  # type: ignore[arg-type]
    _replace(node, new)


def _drop_full_slice(node: fx.Node) -> None:
    source, *given = node.args
    bounds: list[Any] = [*given, *(0, None, None, 1)[len(given) :]]
    _, start, end, step = bounds
    if start in (0, None) and end in (END, None) and step == 1 and isinstance(source, fx.Node):
        node.replace_all_uses_with(source)
        node.graph.erase_node(node)


def _padding_to_numbers(node: fx.Node, name: str) -> None:
    source, weight, *given = node.args
    tensor = fake_tensor(weight) if isinstance(weight, fx.Node) else None
    if tensor is None or len(given) < 3 or not isinstance(given[2], str):
        return
    kernel = list(tensor.shape[2:])
    dilation: Any = given[3] if len(given) > 3 else [1]
    dilation = dilation * (len(kernel) // len(dilation))
    around = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if given[2] == "same" and any(size % 2 for size in around):
        return
    given[2] = [0 if given[2] == "valid" else size // 2 for size in around]
    node.target = getattr(aten, name).default
    node.args = (source, weight, *given)


def _shuffle_to_select(module: fx.GraphModule, node: fx.Node, written: set[fx.Node]) -> None:
    found = _shuffled(node, written)
    if found is None:
        return
    source, index = found
    if torch.equal(index, torch.arange(index.numel())):
        node.replace_all_uses_with(source)
        node.graph.erase_node(node)
        return
    name = f"{node.name}_index"
    while hasattr(module, name):
        name += "_"
    module.register_buffer(name, index)
    with node.graph.inserting_before(node):
        stored = node.graph.get_attr(name)
        new = node.graph.call_function(aten.index_select.default, (source, 1, stored))
    stored.meta["val"] = index
    _replace(node, new)


def _shuffled(node: fx.Node, written: set[fx.Node]) -> tuple[fx.Node, Tensor] | None:
    """Return source and channel order of a shuffle that ends in ``node``, if one does."""
    shape = symbolic_shape(node)
    if len(shape) < 3 or not isinstance(shape[1], int):
        return None
    channels = torch.arange(shape[1])
    if _name(node) == "channel_shuffle":
        source, groups = node.args
        return source, channels.view(groups, -1).t().flatten()  # type: ignore[return-value, arg-type]
    steps: list[fx.Node] = []
    current = node
    while not steps or symbolic_shape(current) != shape:
        source = current.args[0] if current.args else None
        if not isinstance(source, fx.Node) or source in written:
            return None
        if _factors(current, shape) is None or _factors(source, shape) is None:
            return None
        steps.append(current)
        current = source
    for step in reversed(steps):
        order = _order(step)
        if order is not None:
            end = len(order) - (len(shape) - 2)
            if order[0] != 0 or order[end:] != list(range(end, len(order))):
                return None
            channels = channels.permute([axis - 1 for axis in order[1:end]])
        elif _name(step) in RESHAPES:
            channels = channels.reshape(_factors(step, shape) or ())
        elif _name(step) not in COPIES:
            return None
    return current, channels.flatten()


def _factors(node: fx.Node, shape: tuple[object, ...]) -> tuple[int, ...] | None:
    """Return the channels' factors if ``node`` is (batch, factors ..., *space) of ``shape``."""
    mine, space = symbolic_shape(node), shape[2:]
    middle = mine[1 : len(mine) - len(space)]
    if len(mine) < len(shape) or mine[0] != shape[0] or mine[len(mine) - len(space) :] != space:
        return None
    factors = [factor for factor in middle if isinstance(factor, int)]
    is_whole = len(factors) == len(middle) and torch.Size(factors).numel() == shape[1]
    return tuple(factors) if is_whole else None


def _order(node: fx.Node) -> list[int] | None:
    """Return the axes in their new order if ``node`` permutes axes."""
    ndim = int(node.meta["val"].ndim)
    axes: Any = node.args[1] if _name(node) == "permute" else node.args[1:3]
    if _name(node) == "permute":
        return [axis % ndim for axis in axes]
    if _name(node) in SWAPS:
        order = list(range(ndim))
        first, second = (axis % ndim for axis in axes)
        order[first], order[second] = order[second], order[first]
        return order
    return None
