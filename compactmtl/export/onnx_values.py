"""What translations of torch's ops into ONNX are written with."""

from collections.abc import Sequence
from typing import Any

from onnx import TensorProto
from onnxscript import opset18

INT32, INT64 = int(TensorProto.INT32), int(TensorProto.INT64)
op: Any = opset18
Value = Any
"""A value of the graph being built; onnxscript has no one type for it."""


def pair(values: Sequence[int]) -> list[int]:
    """Return two numbers; torch allows one for both axes."""
    return [int(value) for value in values] * (2 // len(values))


def scalar(value: int) -> Value:
    """Return a constant of no dimension."""
    return op.Constant(value_int=value)


def vector(*values: int) -> Value:
    """Return a constant of one dimension."""
    return op.Constant(value_ints=list(values))


def size_of(sizes: Sequence[Value]) -> Value:
    """Return sizes, each a number or a value of the graph, as one vector."""
    return op.Concat(
        *(vector(s) if isinstance(s, int) else op.Reshape(s, vector(1)) for s in sizes), axis=0
    )
