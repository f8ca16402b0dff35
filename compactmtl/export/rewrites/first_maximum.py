"""Max-pooling with indices and max-unpooling in operators that every runtime has.

Rewrites: pools by one strided slice per place in the window, compared in torch's order; unpools of
windows that tile the plane by one mask per place, put beside each other; other unpools whose
indices are all different by a scatter within each plane. The indices between the two are torch's
own, places in one (H, W) plane, so that planes can be chosen and compared on the way.
Leaves alone: pools that round their size up; unpools that may write a place twice, of which torch
itself promises nothing. They stay ONNX's own operators, and the dialect's check names them.
Algebra: torch goes through a window row by row and takes a value where it is greater than the best
one so far. So does the chain here, and so the first of equal values wins, also of -0 and 0, and is
handed on to the bit (by a runtime whose Where keeps the sign of a zero; ONNX Runtime's does not).
A place of a tile is written by its own window or by none; so the plane is, place by place,
``value if index == place else 0``. An image that the tiles do not cover ends in zeros.
"""

from collections.abc import Sequence

from compactmtl.export.onnx_values import INT32, INT64, Value, op, pair, scalar, size_of, vector


def pool_by_comparisons(
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
    if ceil_mode:  # as ONNX has it, which `check_dialect` refuses by name
        values, indices = op.MaxPool(
            self,
            kernel_shape=kernel,
            strides=strides,
            pads=[*padding, *padding],
            dilations=dilation,
            ceil_mode=1,
        )
        return values, indices
    width = op.Cast(op.Shape(self, start=3, end=4), to=INT32)
    x = self
    if any(padding):  # padding is smaller than half the window: each window holds a true value
        lowest = op.CastLike(op.Constant(value_float=float("-inf")), self)
        x = op.Pad(self, vector(0, 0, *padding, 0, 0, *padding), lowest)
    reach = [each * (size - 1) + 1 for each, size in zip(dilation, kernel, strict=True)]
    steps = op.Div(op.Sub(op.Shape(x, start=2, end=4), vector(*reach)), vector(*strides))
    lengths = op.Add(op.Mul(steps, vector(*strides)), vector(1, 1))

    best, offset = None, None
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            start = vector(row * dilation[0], column * dilation[1])
            value = op.Slice(x, start, op.Add(start, lengths), vector(2, 3), vector(*strides))
            place = _place(row * dilation[0], column * dilation[1], width)
            if best is None:
                best, offset = value, place
            else:
                is_greater = op.Greater(value, best)
                best = op.Where(is_greater, value, best)
                offset = op.Where(is_greater, place, offset)
    size = op.Add(steps, vector(1, 1))
    corners = _corners(size, width, strides, padding)
    return best, op.Cast(op.Add(offset, corners), to=INT64)


def unpool_into_tiles(
    self: Value, indices: Value, output_size: Sequence[Value], *, tile: tuple[int, int]
) -> Value:
    """Translate ``aten.max_unpool2d``, each value back into its own tile: (N, C, h, w) -> (H, W).

    Between rows and columns of tiles, places are joined in an axis of their own, columns first.
    """
    size, planes = size_of(output_size), op.Shape(self, start=0, end=3)
    tiles = op.Shape(self, start=2, end=4)
    width = op.Cast(op.Gather(size, vector(1)), to=INT32)
    offset = op.Sub(op.Cast(indices, to=INT32), _corners(tiles, width, tile, (0, 0)))
    zero = op.CastLike(op.Constant(value_float=0.0), self)
    covered = op.Mul(tiles, vector(*tile))
    line_shape = op.Concat(planes, op.Gather(covered, vector(1)), axis=0)
    lines = []
    for row in range(tile[0]):
        parts = [
            op.Unsqueeze(
                op.Where(op.Equal(offset, _place(row, column, width)), self, zero), vector(4)
            )
            for column in range(tile[1])
        ]
        lines.append(op.Reshape(op.Concat(*parts, axis=4), line_shape))
    whole = op.Concat(op.Shape(self, start=0, end=2), covered, axis=0)
    filled = op.Reshape(op.Concat(*lines, axis=3), whole)
    if _is_covered(self, output_size, tile):
        return filled
    rest = op.Concat(vector(0, 0, 0, 0, 0, 0), op.Sub(size, covered), axis=0)
    return op.Pad(filled, rest, zero)


def unpool_by_scatter(self: Value, indices: Value, output_size: Sequence[Value]) -> Value:
    """Translate ``aten.max_unpool2d`` to a plane of any size, by a scatter within each plane."""
    size, planes = size_of(output_size), op.Shape(self, start=0, end=2)
    flat = op.Concat(planes, vector(-1), axis=0)
    canvas = op.ConstantOfShape(op.Concat(planes, op.ReduceProd(size, keepdims=1), axis=0))
    filled = op.ScatterElements(
        op.CastLike(canvas, self), op.Reshape(indices, flat), op.Reshape(self, flat), axis=2
    )
    return op.Reshape(filled, op.Concat(planes, size, axis=0))


def leave_unpool(self: Value, indices: Value, output_size: Sequence[Value]) -> Value:
    """Translate ``aten.max_unpool2d`` to ONNX's operator, for the dialect's check to name."""
    whole = op.Concat(op.Shape(self, start=0, end=2), size_of(output_size), axis=0)
    return op.MaxUnpool(self, indices, whole, kernel_shape=[2, 2], strides=[2, 2])


def _corners(size: Value, width: Value, strides: Sequence[int], padding: Sequence[int]) -> Value:
    """Return the place of each window's first value: (h, w), 32-bit, may lie in the padding."""
    rows, columns = (
        op.Sub(
            op.Mul(
                op.Cast(
                    op.Range(scalar(0), op.Squeeze(op.Gather(size, vector(a))), scalar(1)),
                    to=INT32,
                ),
                _number(strides[a]),
            ),
            _number(padding[a]),
        )
        for a in (0, 1)
    )
    return op.Add(op.Mul(op.Unsqueeze(rows, vector(1)), width), columns)


def _place(row: int, column: int, width: Value) -> Value:
    """Return how far a place of a window is from its first value; 32-bit."""
    return op.Add(op.Mul(width, _number(row)), _number(column)) if row else _number(column)


def _is_covered(values: Value, output_size: Sequence[Value], tile: tuple[int, int]) -> bool:
    """Tell whether tiles are known to cover the plane."""
    tiles = values.shape[-2:] if values.shape is not None else (None, None)
    return all(
        isinstance(have, int) and isinstance(want, int) and have * each == want
        for have, want, each in zip(tiles, output_size, tile, strict=True)
    )


def _number(value: int) -> Value:
    return op.Cast(op.Constant(value_ints=[value]), to=INT32)
