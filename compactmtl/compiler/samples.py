"""The inputs that original and compact network are compared on."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from compactmtl.compiler.call import Inputs
from compactmtl.compiler.capture import Captured, as_inputs
from compactmtl.errors import UsageError


def input_sets(captured: Captured, images: Iterable[Tensor | Sequence[Tensor]]) -> list[Inputs]:
    """Return noise at the captured size, noise at another size where it is free, and the images.

    The other size is twice as high and wide, at batch 1: encoders want multiples of 32, and inputs
    may be fractions of each other in size.

    Raises:
        UsageError: An image does not fit the shapes that the network fixes.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = [list(value.shape) for value in captured.inputs]
    other = [
        [
            size if axis not in axes else 1 if axis == 0 else 2 * size
            for axis, size in enumerate(shape)
        ]
        for shape, axes in zip(shapes, captured.dynamic, strict=True)
    ]
    sets = [
        tuple(
            _noise(value, shape, generator)
            for value, shape in zip(captured.inputs, chosen, strict=True)
        )
        for chosen in ([shapes, other] if other != shapes else [shapes])
    ]
    return sets + [_fitted(as_inputs(image), captured) for image in images]


def _noise(like: Tensor, shape: list[int], generator: torch.Generator) -> Tensor:
    if not like.is_floating_point():
        return like  # an index must stay a valid one
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(like.dtype)


def _fitted(values: Inputs, captured: Captured) -> Inputs:
    """Repeat a single image where the batch is fixed; check everything else."""
    if len(values) != len(captured.inputs):
        raise UsageError(
            f"an image for verification has {len(values)} tensors, the network takes "
            f"{len(captured.inputs)} inputs ({', '.join(captured.input_names)})"
        )
    fitted = []
    for value, like, axes, name in zip(
        values, captured.inputs, captured.dynamic, captured.input_names, strict=True
    ):
        repeats = like.shape[0] if 0 not in axes and value.shape[:1] == (1,) else 1
        shape = (value.shape[0] * repeats, *value.shape[1:]) if value.ndim else ()
        if len(shape) != like.ndim or any(
            axis not in axes and size != like.shape[axis] for axis, size in enumerate(shape)
        ):
            raise UsageError(
                f"an image for verification has shape {tuple(value.shape)}, input `{name}` takes "
                f"{tuple(axes.get(axis, size) for axis, size in enumerate(like.shape))}"
            )
        fitted.append(value.expand(shape) if repeats > 1 else value)
    return tuple(fitted)
