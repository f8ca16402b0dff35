"""Which ops a program is translated otherwise for TensorRT."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch.export import ExportedProgram

from compactmtl.export.rewrites import antialias
from compactmtl.export.rewrites.first_maximum import (
    leave_unpool,
    pool_by_comparisons,
    unpool_by_scatter,
    unpool_into_tiles,
)
from compactmtl.export.rewrites.unpooling import POOL, UNPOOL, unpooling


def tensorrt_translations(
    program: ExportedProgram,
) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return, for one program, the translations that differ from the exporter's own."""
    table: dict[Callable[..., Any], Callable[..., Any]] = {POOL: pool_by_comparisons}
    found = unpooling(program)
    if found.tiles is not None:
        table[UNPOOL] = partial(unpool_into_tiles, tile=found.tiles)
    else:
        table[UNPOOL] = unpool_by_scatter if found.unique else leave_unpool
    if antialias.has_fixed_sizes(program):
        table[antialias.BILINEAR] = antialias.bilinear
        table[antialias.BICUBIC] = antialias.bicubic
    return table
