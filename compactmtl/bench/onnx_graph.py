"""An ONNX file as a graph, at the shapes that really occur when it runs.

Shapes come from one run in ONNX Runtime with a Shape node behind each value, not from shape
inference, which gives up where a size is computed (max-unpooling, resizing to another tensor's
size).
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import TensorProto
from onnx.inliner import inline_local_functions

from compactmtl.bench.complexity import Complexity, measure
from compactmtl.bench.graph import Graph, Operation, Value
from compactmtl.bench.quantisation import without_quantisation
from compactmtl.errors import BenchError, CorruptFileError, MissingFileError
from compactmtl.export.stored import Arrays

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operations whose MACs are counted."""
UNCOUNTED = frozenset(
    {
        *("Attention", "DeformConv", "Einsum", "GRU", "LSTM", "RNN"),
        *("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"),
    }
)
"""Operations that hold MACs which are not counted; named wherever the total is. A branch or a loop
around one of these, or around a weighted one, is named, too."""
FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
)
BITS = {
    f"tensor({kind})": bits
    for bits, kinds in {
        4: ("int4", "uint4", "float4e2m1"),
        8: ("bool", "int8", "uint8", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2"),
        16: ("float16", "bfloat16", "int16", "uint16"),
        32: ("float", "int32", "uint32"),
        64: ("double", "int64", "uint64"),
    }.items()
    for kind in kinds
}
"""Bits per element by ONNX Runtime's name of a type; what is not here is not counted as memory."""


def count_onnx(path: Path, inputs: Arrays) -> Complexity:
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
    constants = _constants(model)
    values = {name: _stored_value(tensor) for name, tensor in constants.items()}
    values |= _measured_values(model, set(constants), inputs, path)
    graph = Graph(
        operations=tuple(_operation(node, values) for node in model.graph.node),
        values=values,
        constants=frozenset(constants),
        inputs=tuple(v.name for v in model.graph.input if v.name not in constants),
        outputs=tuple(value.name for value in model.graph.output),
    )
    uncounted = {node.op_type for node in model.graph.node if _is_uncounted(node)}
    return measure(without_quantisation(graph), _weights(model, constants), uncounted)


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, its own functions written out.

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
    return inline_local_functions(model) if model.functions else model


def _constants(model: onnx.ModelProto) -> dict[str, TensorProto]:
    """Return what the file stores, initializers and Constant nodes."""
    nodes = {
        node.output[0]: attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    return nodes | {tensor.name: tensor for tensor in model.graph.initializer}


def _stored_value(tensor: TensorProto) -> Value:
    item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    is_packed = tensor.data_type in (TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1)
    return Value(tuple(tensor.dims), 4 if is_packed else 8 * item)


def _weights(model: onnx.ModelProto, constants: Mapping[str, TensorProto]) -> list[Value]:
    """Return the constants that are weights, in whatever number format."""
    quantised = {n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    ranges = {
        name
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for name in node.input[1:]
    }
    return [
        _stored_value(tensor)
        for name, tensor in constants.items()
        if name in quantised or (tensor.data_type in FLOATS and name not in ranges)
    ]


def _measured_values(
    model: onnx.ModelProto, known: set[str], inputs: Arrays, path: Path
) -> dict[str, Value]:
    """Run the graph once and return shape and type of every value that is a tensor."""
    computed = [name for node in model.graph.node for name in node.output if name]
    given = [value.name for value in model.graph.input]
    names = [name for name in dict.fromkeys((*given, *computed)) if name not in known]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    # Without a type: ONNX Runtime finds it.
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    try:
        kinds = {value.name: value.type for value in _session(probe).get_outputs()}
        names = [name for name in names if kinds[name] in BITS]
        del probe.graph.output[:]
        shapes = [f"compactmtl_shape_{index}" for index in range(len(names))]
        for name, shape in zip(names, shapes, strict=True):
            probe.graph.node.append(onnx.helper.make_node("Shape", [name], [shape]))
            probe.graph.output.append(
                onnx.helper.make_tensor_value_info(shape, TensorProto.INT64, None)
            )
        session = _session(probe)
        wanted = {value.name for value in session.get_inputs()}
        sizes = session.run(shapes, {name: a for name, a in inputs.items() if name in wanted})
    except Exception as error:  # ONNX Runtime's exceptions share no other base
        raise BenchError(f"cannot run `{path}`: {' '.join(str(error).split())}") from error
    return {
        name: Value(tuple(int(axis) for axis in size), BITS[kinds[name]])
        for name, size in zip(names, sizes, strict=True)
    }


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, and said once
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _operation(node: onnx.NodeProto, values: Mapping[str, Value]) -> Operation:
    inner = {name for each in _inner_nodes(node) for name in each.input}
    reads = (*node.input, *sorted(inner - set(node.input)))
    return Operation(
        name=node.name or node.output[0],
        op=node.op_type,
        inputs=tuple(name for name in reads if name in values),
        outputs=tuple(name for name in node.output if name),
        macs=_macs(node, values) if node.op_type in WEIGHTED else None,
    )


def _macs(node: onnx.NodeProto, values: Mapping[str, Value]) -> int:
    names = (node.input[0], node.input[1], node.output[0])
    left, right, output = (values[name].shape for name in names)
    if node.op_type == "Conv":  # weight (out, in / groups, *kernel)
        return math.prod(output) * math.prod(right[1:])
    if node.op_type == "ConvTranspose":  # weight (in, out / groups, *kernel)
        return math.prod(left) * math.prod(right[1:])
    if node.op_type == "Gemm":
        is_transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(output) * left[0 if is_transposed else 1]
    return math.prod(output) * left[-1]


def _is_uncounted(node: onnx.NodeProto) -> bool:
    inner = {each.op_type for each in _inner_nodes(node)}
    return node.op_type in UNCOUNTED or bool(inner & {*UNCOUNTED, *WEIGHTED})


def _inner_nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a node's branches; protobuf itself bounds how deep they can lie."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield inner
                yield from _inner_nodes(inner)
