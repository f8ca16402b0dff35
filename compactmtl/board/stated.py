"""The public names of an artefact's inputs and outputs, for runtimes that know positions only."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from compactmtl.board.artefact import sidecar_path
from compactmtl.board.errors import AskedError, DamagedError
from compactmtl.board.files import read_json
from compactmtl.board.tensors import Array, InputInfo


def stated_names(path: Path, own: tuple[Sequence[str], Sequence[str]]) -> tuple[list[str], ...]:
    """Return the names of inputs and of outputs that the sidecar states, in order.

    Args:
        path: The artefact.
        own: What its runtime calls them; returned where there is no sidecar.

    Raises:
        DamagedError: The sidecar does not state as many.
    """
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        return tuple(map(list, own))
    document = read_json(sidecar)
    try:
        keys = ("inputs", "outputs")
        found = tuple([str(each["name"]) for each in document[key]] for key in keys)
    except (KeyError, TypeError) as error:
        raise DamagedError(f"`{sidecar}` is not a sidecar of compactmtl") from error
    if list(map(len, found)) != list(map(len, own)):
        raise DamagedError(
            f"`{path.name}` has {len(own[0])} inputs and {len(own[1])} outputs, its sidecar states "
            f"{len(found[0])} and {len(found[1])}"
        )
    return found


def in_order(inputs: Mapping[str, Array], infos: Sequence[InputInfo]) -> list[Array]:
    """Return the arrays in the order of the artefact's inputs, contiguous.

    Raises:
        AskedError: One is missing, or has not the fixed shape.
    """
    arrays = []
    for info in infos:
        if info.name not in inputs:
            raise AskedError(f"input `{info.name}` is missing; got {', '.join(inputs)}")
        array = np.ascontiguousarray(inputs[info.name], dtype=info.dtype)
        if array.shape != info.shape:
            raise AskedError(
                f"input `{info.name}` is fixed to {list(info.shape)}, got {list(array.shape)}"
            )
        arrays.append(array)
    return arrays
