"""A graph whose ``.train()`` and ``.eval()`` do what they say."""

from typing import Any, Self

from torch import fx
from torch._ops import OpOverload

# op -> position of the argument that says "training". In a captured graph the mode is an argument
# of each node, so flipping a flag on the module would change nothing.
MODE_ARGUMENT = {
    "batch_norm": 5, "instance_norm": 5, "dropout": 2, "feature_dropout": 2, "alpha_dropout": 2,
    "feature_alpha_dropout": 2, "rrelu": 3,
}  # fmt: skip
ALWAYS = "compactmtl_always_training"
"""In the graph's meta: the nodes that train in eval mode too, as instance norm without running
statistics and dropout that is never switched off do."""


class ModalGraph(fx.GraphModule):
    """A captured graph that can be trained further.

    ``train()`` makes batch norm use and update batch statistics and dropout drop, ``eval()``
    undoes it. ``num_batches_tracked`` is not part of the graph and stays as it is.
    """

    def __init__(self, root: Any, graph: fx.Graph, class_name: str = "ModalGraph") -> None:
        super().__init__(root, graph, class_name)
        self.training = False

    def train(self, mode: bool = True) -> Self:
        """Set train or eval mode, in the graph's nodes too."""
        changed = False
        for node in self.graph.nodes:
            position = _mode_position(node)
            if position is None or node.name in self.meta[ALWAYS]:
                continue
            arguments = _arguments(node, position)
            if bool(arguments[position]) != mode:
                arguments[position] = mode
                node.args = tuple(arguments)
                changed = True
        if changed:
            self.recompile()
        return super().train(mode)


def _mode_position(node: fx.Node) -> int | None:
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return None
    return MODE_ARGUMENT.get(node.target.overloadpacket.__name__.rstrip("_"))


def _arguments(node: fx.Node, position: int) -> list[Any]:
    """Return the arguments up to a position at least, with defaults that capture left out."""
    assert isinstance(node.target, OpOverload)
    left_out = node.target._schema.arguments[len(node.args) : position + 1]
    return [*node.args, *(argument.default_value for argument in left_out)]


def modal(module: fx.GraphModule) -> ModalGraph:
    """Return a graph with working modes, over the same parameters, without export's guards.

    Args:
        module: A graph in eval mode, as captured, or a modal one in any mode.
    """
    for node in list(module.graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":
            module.graph.erase_node(node)
    result = ModalGraph(module, module.graph)
    result.meta.update(getattr(module, "meta", {}))
    if ALWAYS not in result.meta:
        result.meta[ALWAYS] = {
            node.name
            for node in module.graph.nodes
            if (position := _mode_position(node)) is not None
            and _arguments(node, position)[position]
        }
    return result
