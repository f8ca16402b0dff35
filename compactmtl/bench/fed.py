"""What a candidate was fed, made again from its record."""

from collections.abc import Mapping
from typing import Any

from compactmtl.board.bench.inputs import make_inputs
from compactmtl.board.stored import Stored
from compactmtl.board.tensors import Array, InputInfo


def fed_inputs(fed: Mapping[str, Any], stored: Stored | None, batch: int) -> dict[str, Array]:
    """Return the inputs of a candidate.

    Args:
        fed: Its ``inputs``: name to shape and dtype.
        stored: The samples of the folder.
        batch: Batch size.
    """
    infos = [InputInfo(name, tuple(each.shape), each.dtype) for name, each in fed.items()]
    return make_inputs(infos, stored, batch=batch, size=None)[0]
