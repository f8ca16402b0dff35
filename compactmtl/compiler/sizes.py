"""Sizes of values that are not computed: a formula over the sizes of the inputs."""

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import torch
from torch import fx

from compactmtl.compiler.rules.base import Facts

Size = int | tuple[Any, ...]
"""A number; (value, axis): its size along that axis; or (function, size, size)."""

# What torch.export calls them in a symbolic size.
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Mul": operator.mul,
    "FloorDiv": operator.floordiv,
}


def find_size(size: Any, node: fx.Node, facts: Facts) -> Size | None:
    """Return a symbolic size of ``node`` in terms of what is there before it, or None.

    Sums, products and quotients of the inputs' sizes are calculated; any other size is that of
    the first value that has it.
    """
    if isinstance(size, int):
        return size
    if getattr(size, "is_Integer", False):
        return int(size)
    first = facts.sizes.get(size)
    if first is not None and first[0].op == "placeholder":
        return first
    function = FUNCTIONS.get(type(size).__name__)
    if function is not None:
        parts = [find_size(part, node, facts) for part in size.args]
        if all(part is not None for part in parts):
            return reduce(lambda a, b: (function, a, b), parts)
    return None if first is None or first[0] is node else first


def values_of(sizes: Sequence[Size]) -> Iterator[fx.Node]:
    """Yield the values whose sizes are taken."""
    for size in sizes:
        if not isinstance(size, int):
            if isinstance(size[0], fx.Node):
                yield size[0]
            else:
                yield from values_of(size[1:])


def write_size(size: Size, node: fx.Node, copy: Callable[[fx.Node], fx.Node]) -> int | fx.Node:
    """Write a size into the graph of ``node``, before it.

    Args:
        size: What ``find_size`` returned for the captured graph.
        node: A node of the new graph.
        copy: Maps captured values to the new graph.
    """
    if isinstance(size, int):
        return size
    first, *rest = size
    if isinstance(first, fx.Node):
        function, arguments = torch.ops.aten.sym_size.int, [copy(first), *rest]
    else:
        function, arguments = first, [write_size(part, node, copy) for part in rest]
    with node.graph.inserting_before(node):
        return node.graph.call_function(function, tuple(arguments))
