"""Open an ONNX file that anybody may have made.

Refused before anything runs: what ``compactmtl.board.onnx_file`` refuses (over 2 GB; weights
outside the file's folder, or not of the size that their shape says; shapes beyond any tensor;
graphs too deep within each other), weights where that does not look, operators that are not ONNX's
own, and outputs or intermediate values whose stated shapes no machine could hold.
"""

from collections.abc import Iterator
from math import ceil, prod
from pathlib import Path

import onnx

from compactmtl.board.onnx_file import MAX_ELEMENTS, read_onnx
from compactmtl.errors import CorruptFileError, RefusedError, UnsafeFileError
from compactmtl.export.board_errors import translated

DOMAINS = frozenset({"", "ai.onnx"})
VALUE_FIELDS = (
    "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data",
)  # fmt: skip
"""Where a tensor's values are, if not in raw bytes."""
NUM_VALUES: dict[int, float] = {
    **{int(kind): 2 for kind in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128)},
    **{
        int(kind): 0.5
        for kind in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.FLOAT4E2M1)
    },
}
"""Values per element, where that is not 1."""


def open_onnx(path: Path) -> onnx.ModelProto:
    """Open an ONNX file with its weights, and check it; nothing of it is run.

    Raises:
        MissingFileError: There is no such file, or one that its weights lie in is missing.
        CorruptFileError: It is no ONNX file, is cut off, too large, or its sizes contradict each
            other.
        UnsafeFileError: It reaches outside its folder.
        RefusedError: It needs operators from elsewhere, whose code would run.
    """
    with translated():
        read_onnx(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's, whatever the bytes make of them
        raise CorruptFileError(
            f"`{path}` is not an intact ONNX file: {' '.join(str(error).split())}"
        ) from error
    if model.training_info:
        raise RefusedError(f"`{path}` holds graphs for training, expected none")
    own = {(function.domain, function.name) for function in model.functions}
    for node in _all_nodes(model):
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in own:
            raise RefusedError(
                f"`{path}` needs the operator `{node.domain}.{node.op_type}`, which is not ONNX's",
                hint="write it with ONNX's own operators",
            )
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                _check_values(path, tensor)
    for graph in _all_graphs(model):
        if graph.sparse_initializer:
            raise RefusedError(f"`{path}` holds sparse weights, which no runtime here takes")
        for tensor in graph.initializer:
            _check_values(path, tensor)
        for value in (*graph.output, *graph.value_info):
            _check_shape(path, value)
    for function in model.functions:
        _refuse_files(path, function)
    onnx.load_external_data_for_model(model, str(path.parent))
    return model


def _all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in nodes:
            yield from _nodes(node)


def _nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield a node and those in its branches; protobuf itself bounds how deep they can lie."""
    yield node
    for graph in _graphs(node):
        for inner in graph.node:
            yield from _nodes(inner)


def _all_graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    yield model.graph
    for node in _all_nodes(model):
        yield from _graphs(node)


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _check_values(path: Path, tensor: onnx.TensorProto) -> None:
    """Check that values which are not stored as raw bytes are as many as the shape says."""
    if tensor.HasField("raw_data") or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return  # checked byte by byte already
    num = sum(len(getattr(tensor, name)) for name in VALUE_FIELDS)
    wanted = prod(tensor.dims) * NUM_VALUES.get(tensor.data_type, 1)
    if tensor.data_type and num != ceil(wanted):
        raise CorruptFileError(
            f"`{path}`: `{tensor.name}` has {num} values, its shape {list(tensor.dims)} takes "
            f"{ceil(wanted)}"
        )


def _check_shape(path: Path, value: onnx.ValueInfoProto) -> None:
    sizes = [axis.dim_value or 1 for axis in value.type.tensor_type.shape.dim]
    if min(sizes, default=1) < 1 or prod(sizes) > MAX_ELEMENTS:
        raise CorruptFileError(
            f"`{path}`: `{value.name}` has the shape {sizes}, a tensor holds 2^31 - 1 elements at "
            "most"
        )


def _refuse_files(path: Path, function: onnx.FunctionProto) -> None:
    for outer in function.node:
        for node in _nodes(outer):
            tensors = [t for each in node.attribute for t in (each.t, *each.tensors)]
            tensors += [t for graph in _graphs(node) for t in graph.initializer]
            if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
                raise UnsafeFileError(
                    f"`{path}`: the function `{function.name}` reads a file, expected none to"
                )
