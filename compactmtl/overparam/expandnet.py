"""ExpandNets: a convolution as several in a row without anything between, wider inside.

They are contracted before they are used. That is the same function, borders included, where the
whole padding stands before the first of them, and far cheaper.

Source: Guo et al. (2020), ExpandNets: Linear Over-parameterization to Train Compact Convolutional
Networks; the biases their code has not are not here either.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.errors import UsageError
from compactmtl.overparam.kernel import KernelFactors

EXPANSION = 4
"""The paper's rate: so many times the channels inside."""
IMAGE_CHANNELS = 3
"""An image's channels are not multiplied, as in the paper's code."""


class Chain(KernelFactors):
    """W = F_n * ... * F_1, kernels composed one after the other.

    Args:
        weight: The kernel to be replaced: (O, I, y, x) or (O, I).
        tasks: Names of the tasks; all train all factors.
        expansion: How many times the channels there are inside.

    Shape:
        F_k (C_k, C_k-1, y_k, x_k), C_0 = I and C_n = O; NaN until filled.
    """

    def __init__(self, weight: Tensor, tasks: Sequence[str], expansion: int) -> None:
        super().__init__(weight, tasks)
        self.expansion = expansion
        size = tuple(weight.shape[2:]) or (1, 1)
        for number, shape in enumerate(self.shapes(weight.shape[0], weight.shape[1], size), 1):
            empty = weight.new_full(shape, math.nan)
            parameter = nn.Parameter(empty, requires_grad=weight.requires_grad)
            self.register_parameter(f"F_{number}", parameter)

    @abstractmethod
    def shapes(self, out: int, inn: int, size: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the shape of each factor of a kernel."""

    @classmethod
    def fitted(
        cls, weight: Tensor, tasks: Sequence[str], *, ratio: float | None, init: str
    ) -> Self:
        """Build a chain that is ``ratio`` (None: 4) times as wide inside.

        With ``init="spectral"`` its product is the kernel; with "direct" each factor is drawn as
        the kernel was, and the product is another kernel.

        Raises:
            UsageError: ``ratio`` is no whole number from 1 on, or ``init`` is unknown.
        """
        expansion = EXPANSION if ratio is None else int(ratio)
        if expansion < 1 or (ratio is not None and expansion != ratio):
            raise UsageError(f"ratio (={ratio}) must be a whole number from 1 on")
        factors = cls(weight, tasks, expansion)
        if init == "spectral":
            factors.factor(weight)
        elif init == "direct":
            factors.draw(weight)
        else:
            raise UsageError(f"init is `{init}`, expected one of: spectral, direct")
        return factors

    @classmethod
    def unfilled(cls, weight: Tensor, tasks: Sequence[str], settings: Mapping[str, Any]) -> Self:
        """Build factors of the right shapes that are NaN until a state dict is loaded."""
        return cls(weight, tasks, int(settings["expansion"]))

    def settings(self) -> dict[str, Any]:
        """Return the expansion."""
        return {"expansion": self.expansion}

    @torch.no_grad()
    def draw(self, weight: Tensor) -> None:
        """Draw each factor as normal with the kernel's own gain over the root of its fan-in."""
        gain = weight.detach().std(correction=0) * weight[0].numel() ** 0.5
        for factor in self.shared_parameters():
            factor.copy_(torch.randn_like(factor) * gain / factor[0].numel() ** 0.5)

    def product(self, dtype: torch.dtype) -> Tensor:
        """Return the kernel in ``dtype``."""
        *rest, last = [factor.to(dtype) for factor in self.shared_parameters()]
        for factor in reversed(rest):  # from the output's side: the last has the fewest rows
            last = compose(last, factor)
        return last.reshape(self.kernel_shape).contiguous()

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the factors, the first to be applied first."""
        return list(self.parameters())

    def extra_repr(self) -> str:
        """Show the expansion when the network is printed."""
        return f"expansion={self.expansion}"


class ExpandNet(Chain):
    """ExpandNet-CL: 1x1 to wider, the kernel's own size at that width, 1x1 back."""

    method: ClassVar[str] = "expandnet"

    def shapes(self, out: int, inn: int, size: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the three factors' shapes."""
        before, after = _wider(inn, self.expansion), out * self.expansion
        return [(before, inn, 1, 1), (after, before, *size), (out, after, 1, 1)]

    @torch.no_grad()
    def factor(self, weight: Tensor) -> None:
        """Overwrite the factors so that their product is this kernel.

        F_1 = P and F_3 = Q^T have orthonormal columns and rows, F_2 = Q W P^T + R - Q Q^T R P P^T
        with a random R: the product is W, and no direction of the wider kernel is without gradient.
        """
        first, middle, last = self.shared_parameters()
        wide = weight.detach().double().reshape(*weight.shape[:2], *middle.shape[2:])
        P = _orthonormal(first.shape[0], first.shape[1]).to(wide.device)
        Q = _orthonormal(last.shape[1], last.shape[0]).to(wide.device)
        inner = torch.einsum("mo,oiyx,ni->mnyx", Q, wide, P)
        R = torch.randn(inner.shape, dtype=torch.float64).to(wide.device) * inner.std(correction=0)
        inside = torch.einsum("mk,knyx,nl->mlyx", Q @ Q.T, R, P @ P.T)
        first.copy_(P[..., None, None])
        middle.copy_(inner + R - inside)
        last.copy_(Q.T[..., None, None])


class ExpandNetKernel(Chain):
    """ExpandNet-CK: a square kernel of odd size above 3 as several of 3x3, wider inside."""

    method: ClassVar[str] = "expandnet_ck"

    @classmethod
    def why_not(cls, layer: nn.Module, tasks: Sequence[str]) -> str | None:
        """Return why a layer is left dense: its kernel is not a stack of 3x3 kernels."""
        if not isinstance(layer, nn.Conv2d):
            return "not a convolution"
        height, width = layer.kernel_size
        if height != width or height < 5 or height % 2 == 0:
            return f"kernel of {height}x{width}, not square and odd from 5x5 on"
        if layer.dilation != (1, 1):
            return f"dilated (dilation={layer.dilation})"
        return super().why_not(layer, tasks)

    def shapes(self, out: int, inn: int, size: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the shapes of (size - 1) / 2 kernels of 3x3."""
        num = (size[0] - 1) // 2
        inside = [_wider(inn, self.expansion), *[out * self.expansion] * (num - 2)]
        return [(b, a, 3, 3) for a, b in pairwise([inn, *inside, out])]

    @torch.no_grad()
    def factor(self, weight: Tensor) -> None:
        """Overwrite the factors so that their product is this kernel of 5x5.

        Every input channel goes through four shifts, to the corners of 3x3; the pieces of the
        kernel around its four corners read them, and share the cross that they overlap in.

        Raises:
            UsageError: The kernel is larger, or fewer than four channels stand for one: such a
                product can be another kernel only.
        """
        if weight.shape[2] != 5 or self.expansion < 4 or weight.shape[1] == IMAGE_CHANNELS:
            raise UsageError(
                f"a kernel of {list(weight.shape)} is no product of 3x3 kernels at expansion "
                f"{self.expansion}",
                hint='init="direct" draws another one',
            )
        first, second = self.shared_parameters()
        wide, inn = weight.detach().double(), weight.shape[1]
        shared = torch.ones(5, dtype=torch.float64, device=wide.device)
        shared[2] = 0.5
        pieces = wide * shared[:, None] * shared
        first.copy_(torch.randn_like(first) * weight.std(correction=0))
        second.zero_()  # what reads the further channels starts at nothing
        for corner, (y, x) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
            channels = slice(corner * inn, (corner + 1) * inn)
            first[channels] = 0.0
            first[channels, :, y, x] = torch.eye(inn).to(first)
            second[:, channels] = pieces[:, :, y : y + 3, x : x + 3].to(second)


def compose(second: Tensor, first: Tensor) -> Tensor:
    """Return the kernel that does what ``first`` and then ``second`` do, without a border between.

    Shape:
        second (O, C, b, d), first (C, I, a, c) -> (O, I, a + b - 1, c + d - 1).
    """
    height, width = first.shape[2] - 1, first.shape[3] - 1
    if not height and not width:
        return torch.einsum("ocyx,ci->oiyx", second, first[..., 0, 0])
    flipped = first.transpose(0, 1).flip(2, 3)
    return F.conv2d(F.pad(second, (width, width, height, height)), flipped)


def _wider(channels: int, expansion: int) -> int:
    return channels if channels == IMAGE_CHANNELS else channels * expansion


def _orthonormal(rows: int, columns: int) -> Tensor:
    """Return a random matrix (rows, columns) in float64 with orthonormal columns."""
    Q: Tensor = torch.linalg.qr(torch.randn(rows, columns, dtype=torch.float64))[0]
    return Q
