"""A program captured again: with named outputs, at fixed sizes, or yielding its selections, too."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_leaves

from compactmtl.export.cases import Case, input_shapes, stored_cases
from compactmtl.export.interface import Interface
from compactmtl.export.reference import MAX_POOL, Reference
from compactmtl.export.rewrites.tiles import pool_tiles, unpool_tiles
from compactmtl.export.rewrites.unpooling import UNPOOL, unpooling, windows_of
from compactmtl.export.stored import Stored


def with_names(program: ExportedProgram, interface: Interface) -> ExportedProgram:
    """Return a program whose outputs are a dict by task; itself where they are.

    Dimensions that were free stay free.
    """
    spec = program.call_spec.out_spec
    if spec is not None and spec.type is dict and list(spec.context) == interface.output_names:
        return program
    shapes = input_shapes(program, interface)
    assert program.example_inputs is not None
    free = tuple(
        {axis: Dim.AUTO for axis, size in enumerate(shape) if isinstance(size, str)}
        for shape in shapes.values()
    )
    inputs = tuple(tree_leaves(program.example_inputs))
    module = _Flat(program, names=interface.output_names)
    return torch.export.export(module, inputs, dynamic_shapes=(free,), strict=False)


def at_fixed_sizes(
    program: ExportedProgram,
    inputs: Sequence[Tensor],
    *,
    selections: bool = False,
    tiles: bool = False,
) -> ExportedProgram:
    """Return a program for exactly these shapes, which yields a tuple of its outputs.

    Args:
        program: What to capture.
        inputs: One tensor per input.
        selections: Yield the indices of each max-pooling that hands them on, behind the outputs.
        tiles: Write max-unpooling, where its windows tile the plane, in plain operators.
    """
    module = _Flat(program, selections=selections, tiles=tiles)
    return torch.export.export(module, tuple(inputs), strict=False)


def fixed_cases(program: ExportedProgram, interface: Interface, stored: Stored) -> list[Case]:
    """Return the stored samples in calls of one shape: one by one where the batch size is free."""
    shapes = input_shapes(program, interface)
    if not all(isinstance(shape[0], str) for shape in shapes.values()):
        return stored_cases(program, interface, stored)
    return [
        Case({name: stored.arrays[name][i : i + 1] for name in shapes}, stored.source)
        for i in range(stored.num_samples)
    ]


class _Flat(nn.Module):
    """A program that takes its flattened inputs and yields its flattened outputs."""

    def __init__(
        self,
        program: ExportedProgram,
        *,
        names: Sequence[str] | None = None,
        selections: bool = False,
        tiles: bool = False,
    ) -> None:
        super().__init__()
        self.tile = unpooling(program).tiles if tiles else None
        reference = Reference(program)
        self.module = reference.module
        self.names = names
        self.selecting = [n for n in reference.selecting if n.target is MAX_POOL and selections]

    def forward(self, *inputs: Tensor) -> Any:
        interpreter = _Collecting(self.module, self.selecting, self.tile)
        outputs = tuple(tree_leaves(interpreter.run(*inputs)))
        if self.names is not None:
            return dict(zip(self.names, outputs, strict=True))
        return (*outputs, *interpreter.collected)


class _Collecting(fx.Interpreter):
    def __init__(
        self, module: nn.Module, selecting: Sequence[fx.Node], tile: tuple[int, int] | None
    ) -> None:
        super().__init__(module)
        self.selecting = selecting
        self.tile = tile
        self.collected: list[Tensor] = []

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n) if self.tile is None else self._in_tiles(n, self.tile)
        if n in self.selecting:
            self.collected.append(result[1])
        return result

    def _in_tiles(self, n: fx.Node, tile: tuple[int, int]) -> Any:
        if n.target is MAX_POOL and windows_of(n).tiling == tile:
            (image, *_), _ = self.fetch_args_kwargs_from_env(n)
            return pool_tiles(image, tile)
        if n.target is UNPOOL:
            (values, indices, size), _ = self.fetch_args_kwargs_from_env(n)
            return unpool_tiles(values, indices, size, tile)
        return super().run_node(n)
