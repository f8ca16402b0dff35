"""What an artefact costs: MACs, parameters and memory, in total and layer by layer."""

from collections.abc import Iterator
from dataclasses import dataclass

from compactmtl.bench.graph import (
    Graph,
    Operation,
    Value,
    peak_activation_bytes,
    stored_constants,
)


@dataclass(frozen=True)
class LayerCost:
    """One weighted operation of an artefact.

    Attributes:
        name: Name of its weight without ``.weight``, or the node's where that is computed.
        op: Operation, as the file calls it.
        node: Name of its node.
        macs: Multiply-accumulates.
        num_params: Elements of its constant inputs.
        output_shape: What it yields at these inputs.
        input_bytes: Bytes of the activations it reads.
        output_bytes: Bytes of the activations it writes.
        weight_bytes: Bytes of its constant inputs as the file stores them.
    """

    name: str
    op: str
    node: str
    macs: int
    num_params: int
    output_shape: tuple[int, ...]
    input_bytes: int
    output_bytes: int
    weight_bytes: int


@dataclass(frozen=True)
class Complexity:
    """The cost of an artefact at given inputs.

    Attributes:
        macs: Multiply-accumulates of all ``layers``.
        num_params: Elements of all floating-point constants (batch norm is folded by the export)
            and of all quantised ones; scales and zero points of a quantisation are not counted.
        weights_bytes: Their bytes.
        peak_activation_bytes: See ``compactmtl.bench.graph.peak_activation_bytes``.
        layers: Weighted operations in the order of the graph.
        uncounted: Operations present that hold MACs which are not in ``macs``.
    """

    macs: int
    num_params: int
    weights_bytes: int
    peak_activation_bytes: int
    layers: tuple[LayerCost, ...]
    uncounted: tuple[str, ...]

    @property
    def flops(self) -> int:
        """Return twice the MACs."""
        return 2 * self.macs


def measure(graph: Graph, weights: list[Value], uncounted: set[str]) -> Complexity:
    """Sum up a graph.

    Args:
        graph: The operations at the shapes that occur.
        weights: The constants that are weights.
        uncounted: Operations that hold MACs which are not counted.
    """
    layers = tuple(_layers(graph))
    return Complexity(
        macs=sum(layer.macs for layer in layers),
        num_params=sum(value.num_elements for value in weights),
        weights_bytes=sum(value.num_bytes for value in weights),
        peak_activation_bytes=peak_activation_bytes(graph),
        layers=layers,
        uncounted=tuple(sorted(uncounted)),
    )


def _layers(graph: Graph) -> Iterator[LayerCost]:
    stored = stored_constants(graph)
    for operation in graph.operations:
        if operation.macs is not None and operation.outputs[0] not in stored:
            yield _layer(graph, operation, operation.macs, stored)


def _layer(graph: Graph, operation: Operation, macs: int, stored: dict[str, str]) -> LayerCost:
    values = graph.values
    constants = [name for name in operation.inputs if name in stored]
    activations = {name for name in operation.inputs if name not in stored}
    weight = stored[constants[0]] if constants else ""
    return LayerCost(
        name=weight.removesuffix("_quantized").removesuffix(".weight") or operation.name,
        op=operation.op,
        node=operation.name,
        macs=macs,
        num_params=sum(values[name].num_elements for name in constants),
        output_shape=values[operation.outputs[0]].shape,
        input_bytes=sum(values[name].num_bytes for name in activations),
        output_bytes=sum(values[name].num_bytes for name in operation.outputs),
        weight_bytes=sum(values[stored[name]].num_bytes for name in constants),
    )
