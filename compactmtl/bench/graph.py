"""A network as operations that read and write values, whatever kind of file it comes from."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """Shape and number format of one tensor."""

    shape: tuple[int, ...]
    item_bits: int

    @property
    def num_elements(self) -> int:
        """Return how many numbers it holds."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Return its size; formats of less than a byte are packed."""
        return -(-self.num_elements * self.item_bits // 8)


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        name: Of its node; of its first output where that has none.
        op: Operation, as the file calls it.
        inputs: Values it reads, those that its branches read included.
        outputs: Values it writes.
        macs: Multiply-accumulates; None for operations that have none by definition.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int | None = None


@dataclass(frozen=True)
class Graph:
    """Operations in an order in which they can run.

    Attributes:
        operations: In order.
        values: Name to shape and format, constants included; what is no tensor is not there.
        constants: Names of the values that the file stores.
        inputs: Names of the values that the caller gives.
        outputs: Names of the values that the caller gets.
    """

    operations: tuple[Operation, ...]
    values: Mapping[str, Value]
    constants: frozenset[str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def stored_constants(graph: Graph) -> dict[str, str]:
    """Return the values that depend on constants only, each with the largest of those constants.

    A weight that is stored in another format (quantised, in half precision) or layout leads so to
    what is stored. Runtimes compute such values once, while they load.
    """
    stored = {name: name for name in graph.constants}
    for operation in graph.operations:
        if operation.inputs and all(name in stored for name in operation.inputs):
            sources = [stored[name] for name in operation.inputs]
            largest = max(sources, key=lambda name: graph.values[name].num_elements)
            stored |= dict.fromkeys(operation.outputs, largest)
    return stored


def peak_activation_bytes(graph: Graph) -> int:
    """Return the largest sum of live values while the operations run in their order.

    A value lives from the operation that writes it (an input: from the start) to the last one that
    reads it (an output: to the end), both included. Weights and what depends on nothing else are
    apart. It is what the graph as written needs at least in this order: nothing is computed in
    place, and the working memory of kernels is not in it. Values inside branches and loops are
    not counted.
    """
    apart = stored_constants(graph)
    num_steps = len(graph.operations)
    born: dict[str, int] = dict.fromkeys(graph.inputs, 0)
    dies: dict[str, int] = {}
    for step, operation in enumerate(graph.operations):
        for name in operation.outputs:
            born[name] = dies[name] = step
        for name in operation.inputs:
            dies[name] = step
    dies |= dict.fromkeys(graph.outputs, num_steps)
    changes: defaultdict[int, int] = defaultdict(int)
    for name, step in born.items():
        if name not in apart and name in graph.values:
            changes[step] += graph.values[name].num_bytes
            changes[dies.get(name, step) + 1] -= graph.values[name].num_bytes
    live = peak = 0
    for step in sorted(changes):
        live += changes[step]
        peak = max(peak, live)
    return peak
