"""Nodes in the order of computation, which ONNX demands and its converters forget."""

import onnx
import onnx_ir


def in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each node behind those it reads, branches' captured values too."""
    ordered = onnx_ir.from_proto(model)
    ordered.graph.sort()
    result: onnx.ModelProto = onnx_ir.to_proto(ordered)
    return result
