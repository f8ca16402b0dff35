"""What of an ONNX model is outside the TensorRT dialect, found before any build."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import onnx

from compactmtl.board.advice import advise
from compactmtl.errors import ExportError

OWN_DOMAINS = frozenset({"", "ai.onnx"})


class Refusal(NamedTuple):
    """A node that TensorRT does not take, and what to do about it."""

    node: str
    operator: str
    advice: str


def check_dialect(model: onnx.ModelProto) -> list[Refusal]:
    """Return every node that TensorRT refuses, in order, those in branches and functions too.

    Seen in TensorRT-RTX, which says as much only when it builds, and of some nodes no more than
    ``false``. A node that is not in the list may still be refused by one release or the other.
    """
    functions = {(function.domain, function.name) for function in model.functions}
    nodes = [
        *_nodes(model.graph),
        *(node for function in model.functions for each in function.node for node in _within(each)),
    ]
    refused = []
    for node in nodes:
        code = _code(node, functions)
        if code:
            name = node.name or (node.output[0] if node.output else "?")
            refused.append(Refusal(name, node.op_type, advise(node.op_type, code)))
    return refused


def refuse(refusals: list[Refusal]) -> None:
    """Name all nodes at once, each operator's advice once.

    Raises:
        ExportError: There are such nodes.
    """
    if not refusals:
        return
    nodes = ", ".join(f"{each.operator} `{each.node}`" for each in refusals)
    raise ExportError(
        f"TensorRT takes none of these, and no exact rewrite is known: {nodes}",
        hint="; ".join(dict.fromkeys(each.advice for each in refusals if each.advice)),
    )


def _attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    return next((each for each in node.attribute if each.name == name), None)


def _hands_on_indices(node: onnx.NodeProto) -> bool:
    return len(node.output) > 1 and bool(node.output[1])


def _reduces(node: onnx.NodeProto) -> bool:
    reduction = _attribute(node, "reduction")
    return reduction is not None and reduction.s not in (b"", b"none")


def _antialiases(node: onnx.NodeProto) -> bool:
    antialias = _attribute(node, "antialias")
    return antialias is not None and antialias.i != 0


def _always(_node: onnx.NodeProto) -> bool:
    return True


REFUSED: dict[str, tuple[str, Callable[[onnx.NodeProto], bool]]] = {
    "MaxPool": ("UNSUPPORTED_NODE", _hands_on_indices),
    "MaxUnpool": ("UNSUPPORTED_NODE", _always),
    "ScatterElements": ("UNSUPPORTED_NODE_ATTR", _reduces),
    "ScatterND": ("UNSUPPORTED_NODE_ATTR", _reduces),
    "Resize": ("UNSUPPORTED_NODE_ATTR", _antialiases),
    "NonZero": ("UNSUPPORTED_NODE", _always),
    "DFT": ("INVALID_NODE", _always),
    "Det": ("UNSUPPORTED_NODE", _always),
}
"""Operator to TensorRT's error code, and when it is refused."""


def _code(node: onnx.NodeProto, functions: set[tuple[str, str]]) -> str:
    """Return the error code that TensorRT refuses a node with; empty where it takes it."""
    if (node.domain, node.op_type) in functions:
        return ""  # looked into instead
    if node.domain not in OWN_DOMAINS:
        return "INVALID_NODE"
    code, is_refused = REFUSED.get(node.op_type, ("", _always))
    return code if is_refused(node) else ""


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield from _within(node)


def _within(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    yield node
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from _nodes(graph)
