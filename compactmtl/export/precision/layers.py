"""The layers of an ONNX model: nodes that multiply by weights."""

from collections.abc import Sequence

import onnx

from compactmtl.export.stored import Array

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    """Return the constants of the main graph by name."""
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def layers(model: onnx.ModelProto, kinds: Sequence[str] = WEIGHTED) -> dict[str, str]:
    """Return the layers in order: name of the node to the name a reader knows it by.

    That is the name of its weight in the network, less ``.weight``; where it has none, or two
    layers share one, the node's own.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type not in kinds or not weights & set(node.input[1:2]):
            continue
        known = node.input[1].removesuffix(".weight")
        found[node.name] = node.name if known in found.values() else known
    return found
