"""How max-pooling with indices and max-unpooling are written in ONNX.

Torch counts indices within one (H, W) plane, ONNX's MaxPool within the whole (N, C, H, W) tensor.
The exporter's own translation runs a second, 1x1 MaxPool over the full input just to learn where
each plane starts, and unpools through one flattened ScatterND over the whole tensor. Here:

- A 2x2 pool is four pools without indices, which ONNX Runtime has fast kernels for (its pool with
  indices goes window by window, through a branch per value), and comparisons at the pooled size.
- Any other pool takes ONNX's indices less the start of each plane, arithmetic on the shape.
- Unpooling to twice the size is MaxUnpool, to any other size a scatter within each plane. Which of
  the two it is shows when the model runs. MaxUnpool counts its indices within the size that kernel
  and stride imply, and what runtimes do where another one is asked for, an odd one, differs.

Measured in ONNX Runtime on a five-stage SegNet at 256x256, one thread, CPU time per image, against
pools with indices and scatters alone: 55.3 -> 48.6 ms at a quarter of its width; with 70 % of its
groups zero, compiled, 126.4 -> 123.2 ms, its dense twin 732 -> 711 ms.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from onnx import TensorProto
from onnxscript import FLOAT, INT64, opset18, script
from torch.export import ExportedProgram

from compactmtl.export.onnx_values import INT32, Value, op, pair, scalar, size_of, vector
from compactmtl.export.onnx_values import INT64 as INT64_NUMBER
from compactmtl.export.options import Dialect
from compactmtl.export.rewrites.tensorrt import tensorrt_translations

if TYPE_CHECKING:  # onnxscript's types hold shapes, which no type checker reads
    Floats: TypeAlias = Any
    Numbers: TypeAlias = Any
else:
    Floats, Numbers = FLOAT[...], INT64[...]  # of any shape


def max_pool2d_with_indices(
    self: Value,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Value, Value]:
    """Translate ``aten.max_pool2d_with_indices``: (N, C, H, W) -> values and indices."""
    kernel, padding, dilation = pair(kernel_size), pair(padding), pair(dilation)
    strides = pair(stride) if stride else kernel
    if (kernel, strides, padding, dilation) == ([2, 2], [2, 2], [0, 0], [1, 1]) and not ceil_mode:
        return _pool_of_four(self)
    values, flat_indices = op.MaxPool(
        self,
        kernel_shape=kernel,
        strides=strides,
        pads=[*padding, *padding],
        dilations=dilation,
        ceil_mode=int(ceil_mode),
    )
    planes = op.Shape(self, start=0, end=2)
    plane_size = op.ReduceProd(op.Shape(self, start=2, end=4), keepdims=0)
    num_planes = op.ReduceProd(planes, keepdims=0)
    starts = op.Mul(op.Range(scalar(0), num_planes, scalar(1)), plane_size)
    starts = op.Reshape(starts, op.Concat(planes, vector(1, 1), axis=0))
    return values, op.Sub(flat_indices, starts)


def _pool_of_four(x: Value) -> tuple[Value, Value]:
    """Pool windows of 2x2; of equal values the first one counts, row by row, as in torch.

    In a window (a b / c d) of maximum m, the maximum is in the upper row if max(a, b) = m, and then
    on the right if a < m. Else it is in the lower row, on the right if c < m, that is if
    max(a, c) < m, because a < m. So no value has to be taken out of the odd rows and columns, and
    it is on the right if a < m and either the first or max(a, c) < m: a choice between numbers
    would take longer than all of this.
    """
    values, _ = op.MaxPool(x, kernel_shape=[2, 2], strides=[2, 2])
    size = op.Shape(values, start=2, end=4)
    is_even = all(isinstance(side, int) and side % 2 == 0 for side in x.shape[2:])

    def of_each_window(*kernel: int) -> Value:
        pooled, _ = op.MaxPool(x, kernel_shape=kernel, strides=[2, 2])
        if is_even:
            return pooled
        return op.Slice(pooled, vector(0, 0), size, vector(2, 3))  # an odd size ends in a half

    def is_less(*kernel: int) -> Value:
        return op.Less(of_each_window(*kernel), values)

    in_upper = op.Equal(of_each_window(1, 2), values)
    on_right = op.And(is_less(1, 1), op.Or(in_upper, is_less(2, 1)))
    # In 32 bits: the numbers are those of one plane, and there are as many as values.
    down = op.Cast(op.Not(in_upper), to=INT32)
    right = op.Cast(on_right, to=INT32)
    width = op.Shape(x, start=3, end=4)
    rows = op.Range(scalar(0), op.Squeeze(op.Shape(values, start=2, end=3)), scalar(1))
    columns = op.Range(scalar(0), op.Squeeze(op.Shape(values, start=3, end=4)), scalar(1))
    rows = op.Reshape(op.Mul(rows, op.Mul(width, vector(2))), vector(-1, 1))
    corners = op.Cast(op.Add(rows, op.Mul(columns, vector(2))), to=INT32)
    offsets = op.Add(op.Mul(down, op.Cast(width, to=INT32)), right)
    return values, op.Cast(op.Add(corners, offsets), to=INT64_NUMBER)


def max_unpool2d(self: Value, indices: Value, output_size: Sequence[Value]) -> Value:
    """Translate ``aten.max_unpool2d``: values and indices (N, C, h, w) -> (N, C, H, W)."""
    size = size_of(output_size)
    if self.dtype == TensorProto.FLOAT:  # ONNX Runtime's MaxUnpool takes no other type
        return _unpool_by_size(self, indices, size)
    planes = op.Shape(self, start=0, end=2)
    flat = op.Concat(planes, vector(-1), axis=0)
    canvas = op.ConstantOfShape(op.Concat(planes, op.ReduceProd(size, keepdims=1), axis=0))
    filled = op.ScatterElements(
        op.CastLike(canvas, self), op.Reshape(indices, flat), op.Reshape(self, flat), axis=2
    )
    return op.Reshape(filled, op.Concat(planes, size, axis=0))


@script(default_opset=opset18)
def _unpool_by_size(values: Floats, indices: Numbers, size: Numbers) -> Floats:
    """Unpool to twice the size by MaxUnpool, to another ``size`` (H, W) by a scatter."""
    doubled = op.Mul(op.Shape(values, start=2, end=4), op.Constant(value_ints=[2, 2]))
    planes = op.Shape(values, start=0, end=2)
    whole = op.Concat(planes, size, axis=0)
    plane_size = op.ReduceProd(size, keepdims=1)
    if op.ReduceMin(op.Cast(op.Equal(size, doubled), to=INT32), keepdims=0) > 0:
        num_planes = op.ReduceProd(planes, keepdims=0)
        numbers = op.Range(op.Constant(value_int=0), num_planes, op.Constant(value_int=1))
        shape = op.Concat(planes, op.Constant(value_ints=[1, 1]), axis=0)
        starts = op.Reshape(op.Mul(numbers, plane_size), shape)
        result = op.MaxUnpool(
            values, op.Add(indices, starts), whole, kernel_shape=[2, 2], strides=[2, 2]
        )
    else:
        flat = op.Concat(planes, op.Constant(value_ints=[-1]), axis=0)
        canvas = op.ConstantOfShape(op.Concat(planes, plane_size, axis=0))
        filled = op.ScatterElements(
            canvas, op.Reshape(indices, flat), op.Reshape(values, flat), axis=2
        )
        result = op.Reshape(filled, whole)
    return result


def translations(
    program: ExportedProgram, dialect: Dialect
) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what replaces the exporter's own translation of an op.

    Args:
        program: The program; some rewrites are exact only for what its ops are applied to.
        dialect: Whose operators it is translated to.
    """
    if dialect == "onnx":
        return {
            torch.ops.aten.max_pool2d_with_indices.default: max_pool2d_with_indices,
            torch.ops.aten.max_unpool2d.default: max_unpool2d,
        }
    return tensorrt_translations(program)
