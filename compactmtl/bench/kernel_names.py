"""Which operation of an ONNX file a kernel of ONNX Runtime computes.

ONNX Runtime fuses operations, changes layouts and names what it makes itself. A fused kernel bears
the name of one of its operations, or of the value it yields, with something before or behind.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import onnx

AROUND = re.compile(r"^fused |^Inserted(PrecisionFree)?Cast_|_token_\d+$|/duplicated$|_nchwc$")
"""What ONNX Runtime adds to names."""
WEIGHTED = re.compile(r"Conv|Gemm|MatMul")
"""In the names of kernels that compute a weighted operation."""


class KernelNames:
    """Finds the nodes of a file that kernels compute.

    Args:
        graph: Of the file.
        layers: Names of its weighted nodes.
    """

    def __init__(self, graph: onnx.GraphProto, layers: Iterable[str]) -> None:
        self._layers = frozenset(layers)
        self._nodes: dict[str, Any] = {node.name or node.output[0]: node for node in graph.node}
        self._names: dict[int, str] = {id(node): name for name, node in self._nodes.items()}
        self._producers = {name: node for node in graph.node for name in node.output if name}

    def find(self, kernel: str, op: str) -> str | None:
        """Return the name of a node in the file; None where none can be told.

        Args:
            kernel: Name of the kernel.
            op: Its operation; a weighted one is followed back to the weighted node it is fused to.
        """
        for name in _stripped(kernel):
            node = self._nodes.get(name) or self._producers.get(name)
            if node is not None:
                return self._layer(node) if WEIGHTED.search(op) else self._names[id(node)]
        return None

    def _layer(self, node: onnx.NodeProto) -> str | None:
        """Return the nearest weighted node before one, along what is fused to it."""
        waiting = [node]
        seen = set()
        while waiting:
            current = waiting.pop(0)
            name = self._names[id(current)]
            if name in self._layers:
                return name
            seen.add(name)
            before = (self._producers.get(value) for value in current.input)
            waiting += [n for n in before if n is not None and self._names[id(n)] not in seen]
        return None


def _stripped(name: str) -> Iterator[str]:
    """Yield a name with ever more of what was added taken off."""
    yield name
    while (shorter := AROUND.sub("", name)) != name:
        name = shorter
        yield name
