"""An fp32 ONNX model in fp16, by ONNX Runtime's converter; inputs and outputs stay fp32.

What the converter leaves open is done here and in ``casts.py``: it does not sort what it adds, does
not see what an ``If`` reads from around it, would compute sizes of tensors in fp16, where whole
numbers are exact up to 2048 only, and clips weights that fp16 cannot hold.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from compactmtl.errors import ExportError
from compactmtl.export.precision.casts import branches, captured, mend_casts
from compactmtl.export.precision.layers import WEIGHTED, constants
from compactmtl.export.precision.order import in_order

LARGEST = float(np.finfo(np.float16).max)


def to_fp16(model: onnx.ModelProto, keep: Iterable[str] = ()) -> onnx.ModelProto:
    """Return a copy that computes in fp16.

    Stays in fp32: inputs, outputs, ``keep``, arithmetic on sizes, control flow with its branches,
    and the ops that ONNX or ONNX Runtime define for fp32 alone.

    Args:
        model: An fp32 model.
        keep: Names of nodes that stay in fp32, with their weights.

    Raises:
        ExportError: A weight lies outside the range of fp16.
    """
    kept = set(keep)
    blocked = kept | _of_sizes_alone(model.graph)
    blocked |= {node.name for node in model.graph.node if any(branches(node))}
    _check_range(model, kept)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    converted = convert_float_to_float16(
        copy,
        keep_io_types=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, "MaxUnpool"],
        node_block_list=sorted(blocked),
    )
    mend_casts(converted.graph)
    _drop_types_of_weights(converted.graph)
    result = in_order(converted)
    _check_interface(model, result)
    return result


def _drop_types_of_weights(graph: onnx.GraphProto) -> None:
    """Drop what the converter notes of weights' types: it says fp16 of those that it left fp32."""
    weights = {tensor.name for tensor in graph.initializer}
    noted = [value for value in graph.value_info if value.name not in weights]
    graph.ClearField("value_info")
    graph.value_info.extend(noted)


def _check_range(model: onnx.ModelProto, kept: set[str]) -> None:
    for name, value in constants(model).items():
        users = [node for node in model.graph.node if name in node.input]
        if value.dtype != np.float32 or all(node.name in kept for node in users):
            continue
        largest = float(np.abs(value).max(initial=0.0))
        if np.isfinite(largest) and largest > LARGEST:
            raise ExportError(
                f"weight `{name}` holds {largest:.4g}, fp16 ends at {LARGEST:.0f}; nothing was "
                "written",
                hint="use --precision fp32 or int8",
            )


def _check_interface(model: onnx.ModelProto, result: onnx.ModelProto) -> None:
    """Check what some converters break silently: the type of every input and output."""
    for was, now in (
        *zip(model.graph.input, result.graph.input, strict=True),
        *zip(model.graph.output, result.graph.output, strict=True),
    ):
        if (was.name, was.type) != (now.name, now.type):
            raise ExportError(
                f"the fp16 converter changed the interface: `{was.name}` became `{now.name}` of "
                f"type {TensorProto.DataType.Name(now.type.tensor_type.elem_type)}"
            )


def _of_sizes_alone(graph: onnx.GraphProto) -> set[str]:
    """Return the nodes that compute with sizes of tensors and with constants, not with values.

    A layer computes values, of constants too: they are all that is left of some dead encoders.
    """
    of_values = {value.name for value in graph.input}
    found = set()
    for node in graph.node:  # in order of computation
        if node.op_type in ("Shape", "Size", "Constant", "ConstantOfShape"):
            continue  # sizes are integers; a canvas of zeros is as large as an image, and exact
        if node.op_type in WEIGHTED or of_values & {*node.input, *captured(node)}:
            of_values.update(node.output)
        else:
            found.add(node.name)
    return found
