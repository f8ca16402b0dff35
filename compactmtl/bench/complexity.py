"""MACs and parameters of an ONNX file, at the shapes that really occur when it runs.

Shapes come from one run in ONNX Runtime with a Shape node behind each weighted operation, not from
shape inference, which gives up where a size is computed (max-unpooling, resizing to another
tensor's size).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from onnx import TensorProto

from compactmtl.errors import BenchError, CorruptFileError, MissingFileError
from compactmtl.export.stored import Arrays

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operations whose MACs are counted."""
UNCOUNTED = frozenset(
    {
        *("Attention", "DeformConv", "Einsum", "GRU", "If", "LSTM", "Loop", "RNN", "Scan"),
        *("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"),
    }
)
"""Operations that hold MACs which are not counted; named wherever the total is."""
FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
)


@dataclass(frozen=True)
class OnnxLayer:
    """One weighted operation of an ONNX graph.

    Attributes:
        name: Name of its weight without ``.weight``, or the node's where that is computed.
        op: ONNX operation.
        macs: Multiply-accumulates.
        num_params: Elements of its constant inputs.
        output_shape: What it yields at these inputs.
    """

    name: str
    op: str
    macs: int
    num_params: int
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class OnnxComplexity:
    """The cost of an ONNX file at given inputs.

    Attributes:
        macs: Multiply-accumulates of all ``layers``; FLOPs are twice as many.
        num_params: Elements of all floating-point constants (batch norm is folded by the export)
            and of all quantised ones; scales and zero points of a quantisation are not counted.
        weights_bytes: Their bytes.
        layers: Weighted operations in the order of the graph.
        uncounted: Operations present that hold MACs which are not in ``macs``.
    """

    macs: int
    num_params: int
    weights_bytes: int
    layers: tuple[OnnxLayer, ...]
    uncounted: tuple[str, ...]


def count_onnx(path: Path, inputs: Arrays) -> OnnxComplexity:
    """Count the cost of an ONNX file.

    Args:
        path: The file.
        inputs: What it is run with once; the counts are for these shapes.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is not an ONNX file.
        BenchError: It does not run on these inputs.
    """
    model = read_onnx(path)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    constants = {name: tuple(tensor.dims) for name, tensor in initializers.items()}
    nodes = [node for node in model.graph.node if node.op_type in WEIGHTED]
    shapes = constants | _measured_shapes(model, nodes, constants, inputs, path)
    layers = tuple(_layer(node, shapes, constants) for node in nodes)
    weights = _weights(model, initializers)
    return OnnxComplexity(
        macs=sum(layer.macs for layer in layers),
        num_params=sum(math.prod(tensor.dims) for tensor in weights),
        weights_bytes=sum(math.prod(tensor.dims) * _item_size(tensor) for tensor in weights),
        layers=layers,
        uncounted=tuple(sorted(UNCOUNTED & {node.op_type for node in model.graph.node})),
    )


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is not an ONNX file.
    """
    try:
        model = onnx.load(str(path))
    except FileNotFoundError as error:
        raise MissingFileError(f"no such file: `{path}`") from error
    except Exception as error:  # protobuf's DecodeError, whose package has no types
        raise CorruptFileError(f"`{path}` is not an ONNX file: {error}") from error
    if not model.graph.node:
        raise CorruptFileError(f"`{path}` is not an ONNX file, or its graph is empty")
    return model


def _weights(model: onnx.ModelProto, initializers: Mapping[str, TensorProto]) -> list[TensorProto]:
    """Return the constants that are weights, in whatever number format."""
    quantised = {n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    ranges = {
        name
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for name in node.input[1:]
    }
    return [
        tensor
        for name, tensor in initializers.items()
        if name in quantised or (tensor.data_type in FLOATS and name not in ranges)
    ]


def _measured_shapes(
    model: onnx.ModelProto,
    nodes: list[Any],
    constants: dict[str, tuple[int, ...]],
    inputs: Arrays,
    path: Path,
) -> dict[str, tuple[int, ...]]:
    """Run the graph once and return the shape of everything around the weighted operations."""
    around = (name for node in nodes for name in (*node.input, *node.output))
    names = [name for name in dict.fromkeys(around) if name and name not in constants]
    if not names:
        return {}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    for index, name in enumerate(names):
        shape = f"compactmtl_shape_{index}"
        probe.graph.node.append(onnx.helper.make_node("Shape", [name], [shape]))
        probe.graph.output.append(
            onnx.helper.make_tensor_value_info(shape, TensorProto.INT64, None)
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, and said once
    try:
        session = ort.InferenceSession(
            probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        wanted = {value.name for value in session.get_inputs()}
        values = session.run(None, {name: a for name, a in inputs.items() if name in wanted})
    except Exception as error:  # ONNX Runtime's exceptions share no other base
        raise BenchError(f"cannot run `{path}`: {' '.join(str(error).split())}") from error
    return {
        name: tuple(int(size) for size in value) for name, value in zip(names, values, strict=True)
    }


def _layer(
    node: Any, shapes: dict[str, tuple[int, ...]], constants: dict[str, tuple[int, ...]]
) -> OnnxLayer:
    left, right, output = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
    if node.op_type == "Conv":  # weight (out, in / groups, *kernel)
        macs = math.prod(output) * math.prod(right[1:])
    elif node.op_type == "ConvTranspose":  # weight (in, out / groups, *kernel)
        macs = math.prod(left) * math.prod(right[1:])
    elif node.op_type == "Gemm":
        is_transposed = any(a.name == "transA" and a.i for a in node.attribute)
        macs = math.prod(output) * left[0 if is_transposed else 1]
    else:
        macs = math.prod(output) * left[-1]
    weight = next((name for name in node.input if name in constants), "")
    return OnnxLayer(
        name=weight.removesuffix(".weight") or node.name or node.output[0],
        op=node.op_type,
        macs=macs,
        num_params=sum(math.prod(constants[name]) for name in node.input if name in constants),
        output_shape=output,
    )


def _item_size(tensor: TensorProto) -> int:
    return int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
