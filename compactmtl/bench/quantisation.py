"""A quantised graph as runtimes run it: in integers, between operations and in memory."""

from collections import Counter
from dataclasses import replace

from compactmtl.bench.graph import Graph


def without_quantisation(graph: Graph) -> Graph:
    """Make QuantizeLinear part of what writes its input, DequantizeLinear of what reads it.

    The values between operations are then the quantised ones, as in a runtime that computes in
    integers: layers read and write their bytes. A node stays where its value is needed in floating
    point as well: an output of the graph, or read by others, too.
    """
    readers = Counter(name for each in graph.operations for name in each.inputs)
    kept = {*graph.outputs, *graph.inputs, *graph.constants}
    read_as = {
        each.outputs[0]: each.inputs[0]
        for each in graph.operations
        if each.op == "DequantizeLinear" and each.outputs[0] not in kept
    }
    written_as = {
        each.inputs[0]: each.outputs[0]
        for each in graph.operations
        if each.op == "QuantizeLinear"
        and readers[each.inputs[0]] == 1
        and each.inputs[0] not in {*kept, *read_as}
    }
    gone = {*read_as, *written_as.values()}
    operations = tuple(
        replace(
            each,
            inputs=tuple(read_as.get(name, name) for name in each.inputs),
            outputs=tuple(written_as.get(name, name) for name in each.outputs),
        )
        for each in graph.operations
        if not (each.op in ("QuantizeLinear", "DequantizeLinear") and each.outputs[0] in gone)
    )
    return replace(graph, operations=operations)
