"""Which form of max-unpooling computes the same as torch: read off the program, before any ONNX."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

aten = torch.ops.aten
POOL = aten.max_pool2d_with_indices.default
UNPOOL = aten.max_unpool2d.default
CHOOSING = frozenset({
    aten.index_select.default, aten.slice.Tensor, aten.narrow.default, aten.cat.default,
})  # fmt: skip
"""Ops that keep planes whole when they work on axis 0 or 1."""
COPYING = frozenset({aten.clone.default, aten.contiguous.default, aten.alias.default})


@dataclass(frozen=True)
class Windows:
    """The geometry of a pool; two numbers each, down and right."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    ceil_mode: bool

    @property
    def tiling(self) -> tuple[int, int] | None:
        """Their size, where they lie beside each other without gaps, from the first corner on."""
        tile = (
            self.kernel == self.stride
            and self.padding == (0, 0)
            and self.dilation == (1, 1)
            and not self.ceil_mode
        )
        return self.kernel if tile else None

    @property
    def are_apart(self) -> bool:
        """Whether no position lies in two of them, so that no two pick the same."""
        return all(
            stride > dilation * (kernel - 1)
            for kernel, stride, dilation in zip(
                self.kernel, self.stride, self.dilation, strict=True
            )
        )


@dataclass(frozen=True)
class Unpooling:
    """How all unpools of a program can be written.

    Attributes:
        tiles: The windows that values go back into, where these tile the plane; None otherwise.
        unique: Whether no position of a plane is written twice.
    """

    tiles: tuple[int, int] | None
    unique: bool


def unpooling(program: ExportedProgram) -> Unpooling:
    """Look at every unpool of a program and at the pools that its indices come from.

    Values go back into tiles where each unpool takes the indices of pools with the same tiling
    windows, and makes planes of the size that these pools counted in. Between pool and unpool,
    planes may be chosen, repeated and joined (the compiler does), but not changed.
    """
    unpools = [node for node in program.graph.nodes if node.target is UNPOOL]
    tiles: set[tuple[int, int] | None] = set()
    unique = True
    for unpool in unpools:
        pools = _pools(unpool.args[1])
        windows = [windows_of(pool) for pool in pools]
        unique &= bool(pools) and all(each.are_apart for each in windows)
        fits = bool(pools) and all(_plane(pool.args[0]) == _plane(unpool) for pool in pools)
        tiles |= {each.tiling if fits else None for each in windows} or {None}
    return Unpooling(tiles.pop() if len(tiles) == 1 else None, unique)


def _pools(indices: fx.Node) -> list[fx.Node]:
    """Return the pools whose planes of indices these are; none where that cannot be told."""
    source: Any = indices.args[0] if indices.args else None
    if indices.target in COPYING:
        return _pools(source)
    if indices.target in CHOOSING:
        axis = indices.args[1] if len(indices.args) > 1 else 0
        parts = source if isinstance(source, Sequence) else [source]
        found = [_pools(part) for part in parts]
        return [pool for part in found for pool in part] if axis in (0, 1) and all(found) else []
    if indices.target is aten.index.Tensor:  # one list of samples or of planes
        chosen: Any = indices.args[1]
        axes = [axis for axis, each in enumerate(chosen) if each is not None]
        return _pools(source) if axes in ([0], [1]) else []
    takes_indices = len(indices.args) == 2 and indices.args[1] == 1
    return (
        [source] if isinstance(source, fx.Node) and source.target is POOL and takes_indices else []
    )


def windows_of(pool: fx.Node) -> Windows:
    """Return the geometry of a pool."""
    defaults: list[Any] = [None, None, (), (0, 0), (1, 1), False]
    given = [*pool.args, *defaults[len(pool.args) :]]
    names = ("self", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
    _, kernel, stride, padding, dilation, ceil_mode = (
        pool.kwargs.get(name, value) for name, value in zip(names, given, strict=True)
    )
    return Windows(
        _pair(kernel), _pair(stride or kernel), _pair(padding), _pair(dilation), bool(ceil_mode)
    )


def _pair(values: Any) -> tuple[int, int]:
    """Return two numbers; torch allows one for both axes."""
    down, right = (values, values) if isinstance(values, int) else list(values) * (2 // len(values))
    return int(down), int(right)


def _plane(node: Any) -> tuple[Any, ...]:
    """Return height and width, as formulas where they are dynamic."""
    return tuple(
        size if isinstance(size, int) else size.node.expr for size in node.meta["val"].shape[-2:]
    )
