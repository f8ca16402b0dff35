"""Find where NaN or Inf appears first in a graph."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from compactmtl.compiler.normalise import op_name
from compactmtl.compiler.value import source_line


def is_finite(value: object) -> bool:
    """Tell whether a value, or every tensor in it, is free of NaN and Inf."""
    return all(
        bool(torch.isfinite(tensor).all())
        for tensor in tree_leaves(value)
        if isinstance(tensor, Tensor) and tensor.is_floating_point()
    )


def first_nonfinite(module: fx.GraphModule, inputs: Sequence[Tensor]) -> str:
    """Run a graph and say in words which of its values is the first with NaN or Inf."""
    finder = _Finder(module)
    with fx.traceback.preserve_node_meta(False):
        finder.run(*inputs)
    node = finder.first
    if node is None:
        return "nothing before it"
    if node.op == "placeholder":
        return f"the input `{node.name}` itself"
    weight = node.args[1] if len(node.args) > 1 else None
    layer = ""
    if isinstance(weight, fx.Node) and weight.op == "get_attr":
        layer = f" of `{str(weight.target).rpartition('.')[0]}`"
    line = source_line(node)
    return f"`{op_name(node)}`{layer}" + (f" ({line})" if line else "")


class _Finder(fx.Interpreter):
    """Remembers the first node that yields NaN or Inf."""

    first: fx.Node | None = None

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if self.first is None and n.op != "output" and not is_finite(result):
            self.first = n
        return result
