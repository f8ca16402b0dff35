"""A graph whose ``.train()`` and ``.eval()`` do what they say."""

from typing import Any, Self

from torch import fx
from torch._ops import OpOverload

# op -> position of the argument that says "training". In a captured graph the mode is an argument
# of each node, so flipping a flag on the module would change nothing.
MODE_ARGUMENT = {"batch_norm": 5, "instance_norm": 5, "dropout": 2}


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
            if position is not None and bool(node.args[position]) != mode:
                arguments = list(node.args)
                arguments[position] = mode
                node.args = tuple(arguments)
                changed = True
        if changed:
            self.recompile()
        return super().train(mode)


def _mode_position(node: fx.Node) -> int | None:
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return None
    return MODE_ARGUMENT.get(node.target.overloadpacket.__name__)


def modal(module: fx.GraphModule) -> ModalGraph:
    """Return a graph with working modes, over the same parameters, without export's guards."""
    for node in list(module.graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":
            module.graph.erase_node(node)
    result = ModalGraph(module, module.graph)
    result.meta.update(getattr(module, "meta", {}))
    return result
