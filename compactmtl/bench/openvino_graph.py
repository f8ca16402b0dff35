"""An OpenVINO IR as a graph."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compactmtl.bench.complexity import Complexity, measure
from compactmtl.bench.graph import Graph, Operation, Value
from compactmtl.board.openvino_session import core, reason
from compactmtl.errors import BenchError
from compactmtl.export.stored import Arrays

CONVOLUTION = ("Convolution", "GroupConvolution")
TRANSPOSED = ("ConvolutionBackpropData", "GroupConvolutionBackpropData")
WEIGHTED = (*CONVOLUTION, *TRANSPOSED, "MatMul")
UNCOUNTED = frozenset(
    {
        "DeformableConvolution",
        "Einsum",
        "If",
        "Loop",
        "LSTMSequence",
        "GRUSequence",
        "TensorIterator",
    }
)
"""Operations that hold MACs which are not counted; named wherever the total is."""


def count_openvino(path: Path, inputs: Arrays) -> Complexity:
    """Count the cost of an IR; a weighted operation of unknown size is named as not counted.

    Args:
        path: The ``.xml`` file.
        inputs: What it is run with; the counts are for these shapes.

    Raises:
        BenchError: It does not take these inputs.
    """
    model = core().read_model(path)
    try:
        model.reshape({name: list(array.shape) for name, array in inputs.items()})
    except RuntimeError as error:
        raise BenchError(f"OpenVINO cannot shape `{path}`: {reason(error)}") from error
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() != "Result"]
    constants = [node for node in nodes if node.get_type_name() == "Constant"]
    values = {
        _name(port): Value(tuple(port.get_shape()), port.get_element_type().bitwidth)
        for node in nodes
        for port in node.outputs()
        if not port.get_partial_shape().is_dynamic
    }
    operations = tuple(
        _operation(node, values)
        for node in nodes
        if node.get_type_name() not in ("Constant", "Parameter")
    )
    unknown = {each.op for each in operations if each.op in WEIGHTED and each.macs is None}
    graph = Graph(
        operations=operations,
        values=values,
        constants=frozenset(_name(node.output(0)) for node in constants),
        inputs=tuple(_name(port) for port in model.inputs),
        outputs=tuple(_name(port.get_node().input_value(0)) for port in model.outputs),
    )
    weights = [
        values[_name(node.output(0))]
        for node in constants
        if node.get_element_type().is_real() and len(node.get_output_shape(0))
    ]
    return measure(graph, weights, unknown | {e.op for e in operations if e.op in UNCOUNTED})


def _operation(node: Any, values: Mapping[str, Value]) -> Operation:
    return Operation(
        name=node.get_friendly_name(),
        op=node.get_type_name(),
        inputs=tuple(n for port in node.input_values() if (n := _name(port)) in values),
        outputs=tuple(_name(port) for port in node.outputs()),
        macs=_macs(node) if node.get_type_name() in WEIGHTED else None,
    )


def _name(port: Any) -> str:
    name, index = port.get_node().get_friendly_name(), port.get_index()
    return f"{name}:{index}" if index else str(name)


def _macs(node: Any) -> int | None:
    """Return the MACs of a weighted node, None where a size is not known."""
    kind = node.get_type_name()
    shapes = [node.get_output_partial_shape(0), *(v.get_partial_shape() for v in node.inputs()[:2])]
    if any(shape.is_dynamic for shape in shapes):
        return None
    output, left, right = (list(shape.to_shape()) for shape in shapes)
    # The weights of a grouped convolution have the groups in front.
    per_weight = right[2:] if kind.startswith("Group") else right[1:]
    if kind == "MatMul":
        per_weight = [left[-2 if node.get_attributes()["transpose_a"] else -1]]
    return int(math.prod(left if kind in TRANSPOSED else output) * math.prod(per_weight))
