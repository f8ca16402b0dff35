"""The optimisation profile: for each input the smallest, the usual and the largest shape."""

from collections.abc import Mapping, Sequence
from math import prod

from compactmtl.board.errors import AskedError
from compactmtl.board.onnx_file import MAX_ELEMENTS
from compactmtl.board.recipe import Batch, Size

Shape = tuple[int, ...]
Profile = dict[str, tuple[Shape, Shape, Shape]]
"""Input name to its smallest, usual and largest shape."""


def make_profile(
    inputs: Mapping[str, Sequence[int | None]],
    *,
    batch: Batch | None,
    size: Size | None,
    example: Mapping[str, Sequence[int]],
) -> Profile:
    """Choose the shapes an engine takes.

    Args:
        inputs: Input name to its dimensions, None for dynamic ones.
        batch: Range of axis 0; None: 1, 1 and that of the example.
        size: Range of axes 2 and 3 of images (N, C, H, W); None: that of the example alone.
        example: Input name to the shape of stored samples; may be empty where all is given.

    Raises:
        AskedError: A dynamic dimension gets no range, a fixed one is asked to be another, a name
            is no input's, or a shape is larger than a tensor can be.
    """
    for name in example:
        if name not in inputs:  # TensorRT takes any name, and fails much later
            raise AskedError(
                f"the network has no input `{name}`; its inputs are: {', '.join(inputs)}"
            )
    if size is not None and not any(len(shape) == 4 for shape in inputs.values()):
        raise AskedError("size is for images (N, C, H, W); the network has no such input")
    return {
        name: _ranges(name, shape, batch, size, example.get(name)) for name, shape in inputs.items()
    }


def _ranges(
    name: str,
    shape: Sequence[int | None],
    batch: Batch | None,
    size: Size | None,
    example: Sequence[int] | None,
) -> tuple[Shape, Shape, Shape]:
    if example is not None and len(example) != len(shape):
        raise AskedError(f"input `{name}` has {len(shape)} dimensions, samples {list(example)}")
    columns: list[tuple[int, int, int]] = []
    for axis, fixed in enumerate(shape):
        asked: tuple[int, ...] | None = None
        option = "batch" if axis == 0 else "size"
        if axis == 0:
            asked = batch
        elif size is not None and len(shape) == 4 and axis >= 2:
            asked = tuple(each[axis - 2] for each in size)
        if fixed is not None:
            if asked is not None and set(asked) != {fixed}:
                raise AskedError(
                    f"input `{name}` is fixed to {fixed} in dimension {axis}, {option} asks for "
                    f"{':'.join(map(str, asked))}",
                    hint="compress without --static keeps batch and size free",
                )
            asked = (fixed,) * 3
        elif asked is None:
            if example is None:
                raise AskedError(
                    f"input `{name}` is free in dimension {axis}; no sample says how large it is",
                    hint="give --batch 1:4:16 and --size 384x640",
                )
            asked = (1, 1, example[0]) if axis == 0 else (example[axis],) * 3
        low, usual, high = asked
        columns.append((low, usual, high))
    low_shape, usual_shape, high_shape = (tuple(column[i] for column in columns) for i in range(3))
    if prod(high_shape) > MAX_ELEMENTS:
        raise AskedError(
            f"input `{name}` would have the shape {list(high_shape)}; a tensor holds 2^31 - 1 "
            "elements at most"
        )
    return low_shape, usual_shape, high_shape
