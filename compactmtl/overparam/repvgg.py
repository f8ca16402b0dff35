"""RepVGG: a convolution as the sum of itself, a 1x1 and the identity, each with batch norm.

Source: Ding et al. (2021), RepVGG: Making VGG-style ConvNets Great Again.
"""

import copy
from typing import ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.errors import UsageError
from compactmtl.overparam.branched import BranchedConv

INITS = ("spectral", "direct")


class RepVgg(BranchedConv):
    """``y = BN(conv(x)) + BN(conv1x1(x)) + BN(x)``, the last where x and y have one shape.

    With ``init="spectral"`` the first branch is the given pair of layers and the scales of the
    others start at 0, which preserves the function; with "direct" they start at 1, as published.
    """

    method: ClassVar[str] = "repvgg"

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.dense = copy.deepcopy(conv)
        self.dense.bias = None
        self.dense_norm = copy.deepcopy(norm)
        self.point = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            1,
            stride=_pair(conv.stride),
            padding=_rest(conv),
            groups=conv.groups,
            bias=False,
        ).to(conv.weight)
        self.point_norm = _like(norm)
        passes = conv.in_channels == conv.out_channels and conv.stride == (1, 1)
        has_identity = passes and _rest(conv) == (0, 0)
        self.identity_norm = _like(norm) if has_identity else None
        self._has_bias = conv.bias is not None

    @classmethod
    def why_not(cls, conv: nn.Conv2d) -> str | None:
        """Return why a convolution is left as it is: its kernel has no centre, or pads oddly."""
        if conv.kernel_size == (1, 1):
            return "kernel of 1x1"
        if any(size % 2 == 0 for size in conv.kernel_size):
            return f"kernel of {conv.kernel_size[0]}x{conv.kernel_size[1]} has no centre"
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str) or min(_rest(conv)) < 0:
            return f"padding {conv.padding} ({conv.padding_mode}): a 1x1 cannot follow it"
        return None

    @classmethod
    def fitted(cls, conv: nn.Conv2d, norm: nn.BatchNorm2d, *, init: str) -> Self:
        """Build the branches; see the class."""
        if init not in INITS:
            raise UsageError(f"init is `{init}`, expected one of: {', '.join(INITS)}")
        branches = cls(conv, norm)
        with torch.no_grad():
            mean = branches.dense_norm.running_mean
            if conv.bias is not None and mean is not None:
                mean -= conv.bias
            for other in (branches.point_norm, branches.identity_norm):
                if other is not None:
                    other.weight.fill_(1.0 if init == "direct" else 0.0)
        return branches.train(conv.training)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the branches."""
        y: Tensor = self.dense_norm(self.dense(x)) + self.point_norm(self.point(x))
        return y if self.identity_norm is None else y + self.identity_norm(x)

    def folded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the sum of the scaled kernels, and of the shifts."""
        dense = self.dense.weight.detach().to(dtype)
        centre = [size // 2 for size in self.dense.kernel_size]
        kernel, bias = _scaled(dense, self.dense_norm)
        pad = [centre[1], centre[1], centre[0], centre[0]]
        point, shift = _scaled(F.pad(self.point.weight.detach().to(dtype), pad), self.point_norm)
        kernel, bias = kernel + point, bias + shift
        if self.identity_norm is not None:
            unit = torch.zeros_like(dense)
            rows = torch.arange(unit.shape[0], device=unit.device)
            unit[rows, rows % unit.shape[1], centre[0], centre[1]] = 1.0
            unit, shift = _scaled(unit, self.identity_norm)
            kernel, bias = kernel + unit, bias + shift
        return kernel, bias

    def plain(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """Return a convolution and a batch norm as they were given."""
        conv = copy.deepcopy(self.dense)
        if self._has_bias:
            conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))
        return conv, _like(self.dense_norm)


def _rest(conv: nn.Conv2d) -> tuple[int, int]:
    """Return the padding that a 1x1 in the centre of the kernel has."""
    padding = cast(tuple[int, int], conv.padding)
    height, width = (
        p - d * (k // 2) for p, d, k in zip(padding, conv.dilation, conv.kernel_size, strict=True)
    )
    return height, width


def _like(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Return a fresh batch norm of the same settings."""
    fresh = nn.BatchNorm2d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    return fresh.to(norm.weight).train(norm.training)


def _pair(value: tuple[int, ...]) -> tuple[int, int]:
    return value[0], value[1]


def _scaled(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Fold the batch norm behind a kernel (O, I, y, x) into it; return the bias too."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, var = norm.running_mean.to(kernel), norm.running_var.to(kernel)
    scale = norm.weight.detach().to(kernel) / (var + norm.eps).sqrt()
    return kernel * scale[:, None, None, None], norm.bias.detach().to(kernel) - mean * scale
