"""Small ONNX files written without protobuf, for the self-test of a board that has no onnx package.

The other direction of ``onnx_wire``: a message is its fields one after the other, each a key and a
number, or a key, a length and bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
IR_VERSION, OPSET = 8, 17
"""What ONNX Runtime since 1.12 and TensorRT since 8.6 read."""
TYPES = {"float32": 1, "int8": 3, "int64": 7, "float16": 10}
"""``TensorProto.DataType`` by numpy's name."""
INT_ATTRIBUTE, INTS_ATTRIBUTE = 2, 7


@dataclass(frozen=True)
class Node:
    """One operator: what it reads, what it writes, and attributes that are whole numbers."""

    operator: str
    inputs: Sequence[str]
    output: str
    attributes: Mapping[str, int | Sequence[int]] = field(default_factory=dict)


def model_bytes(
    nodes: Sequence[Node],
    constants: Mapping[str, Array],
    *,
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
) -> bytes:
    """Return an ONNX file whose inputs and outputs are float32.

    Args:
        nodes: In an order in which they can run.
        constants: Weights by name.
        inputs: Name to shape.
        outputs: Name to shape.
    """
    graph = b"".join(_bytes(1, _node(node)) for node in nodes)
    graph += _bytes(2, b"selftest")
    graph += b"".join(_bytes(5, _tensor(name, value)) for name, value in constants.items())
    graph += b"".join(_bytes(11, _value(name, shape)) for name, shape in inputs.items())
    graph += b"".join(_bytes(12, _value(name, shape)) for name, shape in outputs.items())
    opset = _bytes(8, _number(2, OPSET))
    return _number(1, IR_VERSION) + _bytes(2, b"compactmtl") + _bytes(7, graph) + opset


def _node(node: Node) -> bytes:
    written = b"".join(_bytes(1, name.encode()) for name in node.inputs)
    written += _bytes(2, node.output.encode()) + _bytes(3, node.output.encode())
    written += _bytes(4, node.operator.encode())
    return written + b"".join(
        _bytes(5, _attribute(name, value)) for name, value in node.attributes.items()
    )


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _bytes(1, name.encode()) + _number(3, value) + _number(20, INT_ATTRIBUTE)
    numbers = b"".join(_number(8, each) for each in value)
    return _bytes(1, name.encode()) + numbers + _number(20, INTS_ATTRIBUTE)


def _tensor(name: str, value: Array) -> bytes:
    dimensions = b"".join(_number(1, size) for size in value.shape)
    kind = _number(2, TYPES[str(value.dtype)])
    raw = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<")).tobytes()
    return dimensions + kind + _bytes(8, name.encode()) + _bytes(9, raw)


def _value(name: str, shape: Sequence[int]) -> bytes:
    dimensions = b"".join(_bytes(1, _number(1, size)) for size in shape)
    tensor = _number(1, TYPES["float32"]) + _bytes(2, dimensions)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))


def _bytes(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
