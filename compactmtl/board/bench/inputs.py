"""What artefacts are measured with."""

from collections.abc import Iterable

import numpy as np

from compactmtl.board.errors import AskedError
from compactmtl.board.stored import INPUTS, Stored
from compactmtl.board.tensors import Array, InputInfo


def make_inputs(
    infos: Iterable[InputInfo], stored: Stored | None, *, batch: int, size: tuple[int, int] | None
) -> tuple[dict[str, Array], str]:
    """Return what an artefact is run with, and where it comes from.

    Stored samples are used where they have the wanted size, repeated to the batch size; else
    uniform random values in [0, 1).

    Args:
        infos: The artefact's inputs.
        stored: The samples of the folder; None without any.
        batch: Batch size.
        size: Height and width; None: what is fixed in the artefact, else that of the samples.

    Raises:
        AskedError: The artefact is fixed to another batch or size, or a size is not known.
    """
    inputs: dict[str, Array] = {}
    source = "" if stored is None else f"{INPUTS} ({stored.source})"
    generator = np.random.default_rng(0)
    for info in infos:
        samples = stored.arrays.get(info.name) if stored else None
        shape = _shape(info, None if samples is None else samples.shape, batch, size)
        fits = samples is not None and samples.shape[1:] == shape[1:]
        if samples is not None and fits and str(samples.dtype) == info.dtype:
            inputs[info.name] = np.ascontiguousarray(samples[np.arange(shape[0]) % len(samples)])
        elif not info.dtype.startswith("float"):
            raise AskedError(
                f"input `{info.name}` is {info.dtype}: random values may mean nothing to it",
                hint="bench the folder that holds inputs.npz",
            )
        else:
            source = "uniform random in [0, 1), seed 0"
            inputs[info.name] = generator.random(shape, dtype=np.float32).astype(info.dtype)
    return inputs, source


def _shape(
    info: InputInfo, stored: tuple[int, ...] | None, batch: int, size: tuple[int, int] | None
) -> tuple[int, ...]:
    asked = {0: batch}
    if size is not None and len(info.shape) == 4:
        asked |= {2: size[0], 3: size[1]}
    result = []
    for axis, dimension in enumerate(info.shape):
        if isinstance(dimension, int):
            if asked.get(axis, dimension) != dimension:
                raise AskedError(
                    f"input `{info.name}` is fixed to {list(info.shape)}, "
                    f"axis {axis} cannot be {asked[axis]}"
                )
            result.append(dimension)
        elif axis in asked:
            result.append(asked[axis])
        elif stored is not None and len(stored) == len(info.shape):
            result.append(stored[axis])
        else:
            raise AskedError(
                f"input `{info.name}` has a free dimension `{dimension}` (axis {axis})",
                hint="give --size HEIGHTxWIDTH",
            )
    return tuple(result)
