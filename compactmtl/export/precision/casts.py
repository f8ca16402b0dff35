"""The casts that an fp16 converter adds: those it forgets, adds twice, or need not round by."""

from collections.abc import Iterator

import onnx
from onnx import AttributeProto, TensorProto

UP, DOWN = "_cast_to_fp32", "_cast_to_fp16"
"""What the converter appends to the name of a value that it casts; a node ends in ``_node``."""


def branches(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs inside a node: of an ``If``, of a ``Loop``."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def captured(node: onnx.NodeProto) -> set[str]:
    """Return what the branches of a node read from around it."""
    names: set[str] = set()
    for branch in branches(node):
        own = {value.name for value in (*branch.input, *branch.initializer)}
        own.update(name for each in branch.node for name in each.output)
        for each in branch.node:
            names |= {*each.input, *captured(each)} - own
        names |= {value.name for value in branch.output} - own
    return names


def mend_casts(graph: onnx.GraphProto) -> None:
    """Complete and reduce the casts of a converted graph, in place; its nodes stay unsorted.

    - Branches, which stay in fp32, read fp16 values through a cast.
    - A value that two fp32 nodes read is cast once, not twice under one name.
    - Between two fp32 nodes nothing is rounded: ``up(down(x))`` is x.
    """
    _cast_for_branches(graph)
    nodes = list({tuple(node.output): node for node in graph.node}.values())
    single = {node.output[0]: node.input[0] for node in nodes if node.name.endswith(DOWN + "_node")}
    outputs = {value.name for value in graph.output}
    same: dict[str, str] = {}
    for node in nodes:
        if node.op_type == "Cast" and node.input[0] in single:
            if node.name.endswith(UP + "_node"):
                same[node.output[0]] = single[node.input[0]]
            elif node.output[0] in outputs:
                node.input[0] = single[node.input[0]]
    kept = [node for node in nodes if node.output[0] not in same]
    for node in kept:
        _rename(node, same)
    read = {name for node in kept for name in (*node.input, *captured(node))} | outputs
    alive = [node for node in kept if node.output[0] not in single or node.output[0] in read]
    graph.ClearField("node")
    graph.node.extend(alive)


def _cast_for_branches(graph: onnx.GraphProto) -> None:
    halves = {
        value.name
        for value in (*graph.value_info, *graph.initializer)
        if _type(value) == TensorProto.FLOAT16
    }
    for node in list(graph.node):
        inner = captured(node) & halves
        for branch in branches(node):
            for each in branch.node:
                _rename(each, {name: name + UP for name in inner})
        graph.node.extend(
            onnx.helper.make_node(
                "Cast", [name], [name + UP], name=f"{name}{UP}_node", to=TensorProto.FLOAT
            )
            for name in sorted(inner)
        )


def _type(value: onnx.ValueInfoProto | onnx.TensorProto) -> int:
    if isinstance(value, onnx.TensorProto):
        return value.data_type
    return value.type.tensor_type.elem_type


def _rename(node: onnx.NodeProto, names: dict[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    for branch in branches(node):
        for inner in branch.node:
            _rename(inner, names)
