"""The program in torch, in fp32 and fp64, with its selections readable and imposable.

A selection is a place where a network picks an index: max-pooling that hands its indices on, or an
argmax output. Where two candidates are nearly equal, rounding alone decides which is picked, and
the outputs of two correct runtimes may then differ a lot. So a runtime is compared with a
reference on which the runtime's own selections are imposed, and each of them must pick a value
that, in fp64, is the largest one up to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.fx.node import Argument, Target
from torch.utils._pytree import tree_leaves, tree_map

from compactmtl.errors import ExportError
from compactmtl.rounding import nudged

MAX_POOL = torch.ops.aten.max_pool2d_with_indices.default
ARGMAX = torch.ops.aten.argmax.default
NEAR_TIE = 1e-5
"""Largest gap, relative to the largest magnitude, at which rounding may flip a selection."""


@dataclass
class Run:
    """One pass through the program.

    Attributes:
        outputs: The flattened outputs.
        selections: What the program itself selects, in the order of the graph.
        gaps: Per selection, where another selection was imposed: by how much the imposed choice is
            smaller than the largest candidate, divided by the largest magnitude in the tensor
            selected from. 0 where both agree.
    """

    outputs: list[Any] = field(default_factory=list)
    selections: list[Tensor] = field(default_factory=list)
    gaps: list[Tensor] = field(default_factory=list)


class Reference:
    """A program that can be run in either precision."""

    def __init__(self, program: ExportedProgram) -> None:
        self.module = program.module()
        nodes = list(self.module.graph.nodes)
        self.outputs = tree_leaves(next(node for node in nodes if node.op == "output").args)
        self.selecting = [
            node for node in nodes if _hands_on_indices(node) or _is_argmax(node, self.outputs)
        ]

    @property
    def num_pools(self) -> int:
        """How many max-poolings hand their indices on."""
        return sum(node.target is MAX_POOL for node in self.selecting)

    def arrange(self, pools: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
        """Return a runtime's selections in the order of the graph.

        Args:
            pools: What each max-pooling of the runtime selected, in its order.
            outputs: The runtime's flattened outputs, among them the argmax ones.
        """
        remaining = iter(pools)
        return [
            next(remaining) if node.target is MAX_POOL else outputs[self.outputs.index(node)]
            for node in self.selecting
        ]

    def run(
        self,
        inputs: Sequence[Tensor],
        dtype: torch.dtype,
        imposed: Sequence[Tensor] | None = None,
        *,
        draw: int | None = None,
    ) -> Run:
        """Run the program with all floating-point values in ``dtype``.

        Args:
            inputs: One tensor per input, in order.
            dtype: ``torch.float32`` or ``torch.float64``.
            imposed: One index tensor per selection, used in place of the program's own.
            draw: Move every fp32 input and parameter by up to one unit in its last place, at
                random with this seed: another way in which everything may be rounded.

        Raises:
            AssertionError: The program was not captured for this input shape.
            ExportError: An imposed pool index lies outside the plane.
        """
        if imposed is None:
            return self.run_choosing(inputs, dtype, None, draw)
        given = dict(zip(self.selecting, imposed, strict=True))
        return self.run_choosing(inputs, dtype, lambda node, source, own: given[node], draw)

    def run_choosing(
        self,
        inputs: Sequence[Tensor],
        dtype: torch.dtype,
        choose: "Choose | None",
        draw: int | None = None,
    ) -> Run:
        """Run the program; ``choose`` says what is imposed, once it is known what is pooled.

        Raises:
            AssertionError: The program was not captured for this input shape.
            ExportError: An imposed pool index lies outside the plane.
        """
        interpreter = _Interpreter(self, dtype, choose, draw)
        with torch.no_grad():
            outputs = interpreter.run(*map(interpreter.cast, inputs))
        interpreter.record.outputs = tree_leaves(outputs)
        return interpreter.record


Choose: TypeAlias = Callable[[fx.Node, Tensor, Tensor], Tensor]
"""From a selecting node, what it selects from and what it selects itself: what is imposed."""


class _Interpreter(fx.Interpreter):
    def __init__(
        self,
        reference: Reference,
        dtype: torch.dtype,
        choose: Choose | None,
        draw: int | None,
    ) -> None:
        super().__init__(reference.module)
        self.noise = None if draw is None else torch.Generator().manual_seed(draw)
        self.selecting = set(reference.selecting)
        self.dtype = dtype
        self.choose = choose
        self.record = Run()

    def get_attr(
        self, target: Target, args: tuple[Argument, ...], kwargs: dict[str, Any]
    ) -> object:
        return self.cast(super().get_attr(target, args, kwargs))

    def cast(self, value: object) -> object:
        """Return a value in the precision of this run, moved where this run moves values."""
        if not isinstance(value, Tensor) or value.dtype is not torch.float32:
            return value
        if self.noise is not None:
            value = nudged(value, self.noise)
        return value.to(self.dtype)

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if n not in self.selecting:
            return result
        source = self.fetch_args_kwargs_from_env(n)[0][0]
        own = result[1] if n.target is MAX_POOL else result
        self.record.selections.append(own)
        if self.choose is None:
            return result
        imposed = self.choose(n, source, own)
        self.record.gaps.append(gap(n, source, own, imposed))
        return (result[0], imposed) if n.target is MAX_POOL else imposed

    def call_function(
        self, target: Target, args: tuple[Argument, ...], kwargs: dict[str, Any]
    ) -> object:
        # `zeros(dtype=float32)`, `to(float32)` and the like must not round the fp64 reference.
        def recast(value: object) -> object:
            return self.dtype if value is torch.float32 else value

        return super().call_function(target, tree_map(recast, args), tree_map(recast, kwargs))


def _hands_on_indices(node: fx.Node) -> bool:
    return node.target is MAX_POOL and any(
        len(user.args) == 2 and user.args[1] == 1 and user.users for user in node.users
    )


def _is_argmax(node: fx.Node, outputs: list[Any]) -> bool:
    return node.target is ARGMAX and node in outputs and _argmax_dim(node) is not None


def _argmax_dim(node: fx.Node) -> int | None:
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    return dim if isinstance(dim, int) else None


def outside_window(node: fx.Node, source: Tensor, picked: Tensor) -> Tensor:
    """Tell which picked indices of a plane are no value of their own window: (N, C, h, w).

    Window i of an axis holds the places i * stride - padding + k * dilation, 0 <= k < kernel_size,
    that are in the plane.
    """
    height, width = source.shape[-2:]
    outside = (picked < 0) | (picked >= height * width)
    places = (picked.div(width, rounding_mode="floor"), picked.remainder(width))
    kernel, stride, padding, dilation = _pool_settings(node)
    for axis, place in enumerate(places):
        windows = torch.arange(picked.shape[axis - 2], device=picked.device)
        first = (windows * stride[axis] - padding[axis]).view([-1, 1] if axis == 0 else [-1])
        offset = place - first
        steps = offset.div(dilation[axis], rounding_mode="floor")
        outside |= (offset.remainder(dilation[axis]) != 0) | (steps < 0) | (steps >= kernel[axis])
    return outside


def _pool_settings(node: fx.Node) -> tuple[list[int], ...]:
    """Return kernel size, stride, padding and dilation of a max-pooling, two numbers each."""
    names = ("kernel_size", "stride", "padding", "dilation")
    given = dict(zip(names, node.args[1:5], strict=False)) | dict(node.kwargs)
    kernel = _pair(given["kernel_size"])
    stride = _pair(given.get("stride") or kernel)  # torch: an empty one is the kernel's size
    return kernel, stride, _pair(given.get("padding", 0)), _pair(given.get("dilation", 1))


def _pair(value: Any) -> list[int]:
    numbers = [value] if isinstance(value, int) else list(value)
    return numbers * 2 if len(numbers) == 1 else numbers


def gap(node: fx.Node, source: Tensor, own: Tensor, imposed: Tensor) -> Tensor:
    """Return how much smaller the imposed choice is, relative to the largest magnitude.

    Raises:
        ExportError: An imposed pool index lies outside its window.
    """
    if node.target is MAX_POOL:  # indices count within the flattened plane
        plane = source.flatten(-2)
        if bool((outside := outside_window(node, source, imposed)).any()):
            raise ExportError(
                f"pool `{node.name}` picked index {int(imposed[outside][0])} of a plane of "
                f"{tuple(source.shape[-2:])}, outside its window; nothing was written"
            )
        chosen, best = (plane.gather(-1, index.flatten(-2)) for index in (imposed, own))
    else:
        dim = _argmax_dim(node)
        assert dim is not None
        keeps = own.ndim == source.ndim
        chosen, best = (
            source.gather(dim, index if keeps else index.unsqueeze(dim)) for index in (imposed, own)
        )
    return (best - chosen).abs() / source.abs().amax().clamp(min=torch.finfo(source.dtype).tiny)
