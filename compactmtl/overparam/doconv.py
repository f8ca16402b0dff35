"""DO-Conv: a kernel composed with a depthwise kernel, which is folded into it after training.

Source: Cao et al. (2020), DO-Conv: Depthwise Over-parameterized Convolutional Layer.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from compactmtl.errors import UsageError
from compactmtl.overparam.kernel import KernelFactors

INITS = ("spectral", "direct")


class DoConv(KernelFactors):
    """W[o, i, p] = sum_s (D[i, p, s] + eye[p, s]) K[o, i, s], p the y*x places of the kernel.

    Args:
        weight: The kernel to be replaced: (O, I, y, x).
        tasks: Names of the tasks; all train all factors.
        multiplier: Number of values of s, at least y*x.

    Shape:
        K (O, I, multiplier), D (I, y*x, multiplier); NaN until filled.
    """

    method: ClassVar[str] = "doconv"

    def __init__(self, weight: Tensor, tasks: Sequence[str], multiplier: int) -> None:
        super().__init__(weight, tasks)
        self.multiplier = multiplier
        out, inn, places = weight.flatten(2).shape
        for name, shape in {"K": (out, inn, multiplier), "D": (inn, places, multiplier)}.items():
            empty = weight.new_full(shape, math.nan)
            self.register_parameter(name, nn.Parameter(empty, requires_grad=weight.requires_grad))

    @classmethod
    def why_not(cls, layer: nn.Module, tasks: Sequence[str]) -> str | None:
        """Return why a layer is left dense: grouped convolutions and kernels of one place are."""
        if not isinstance(layer, nn.Conv2d):
            return "not a convolution"
        if math.prod(layer.kernel_size) == 1:
            return "kernel of 1x1"
        return super().why_not(layer, tasks)

    @classmethod
    def fitted(
        cls, weight: Tensor, tasks: Sequence[str], *, ratio: float | None, init: str
    ) -> Self:
        """Compose a kernel with the identity; multiplier ceil(ratio * y*x), ratio None is 1.

        Both ``init`` are this one: K starts as the kernel was drawn, D at zero.

        Raises:
            UsageError: ``ratio`` is below 1, or ``init`` is unknown.
        """
        if init not in INITS:
            raise UsageError(f"init is `{init}`, expected one of: {', '.join(INITS)}")
        ratio = 1.0 if ratio is None else ratio
        if not ratio >= 1.0:
            raise UsageError(f"ratio (={ratio}) must be at least 1: D has y*x columns at least")
        factors = cls(weight, tasks, math.ceil(ratio * weight[0, 0].numel() - 1e-9))
        factors.factor(weight)
        return factors

    @classmethod
    def unfilled(cls, weight: Tensor, tasks: Sequence[str], settings: Mapping[str, Any]) -> Self:
        """Build factors of the right shapes that are NaN until a state dict is loaded."""
        return cls(weight, tasks, int(settings["multiplier"]))

    def settings(self) -> dict[str, Any]:
        """Return the multiplier."""
        return {"multiplier": self.multiplier}

    @torch.no_grad()
    def factor(self, weight: Tensor) -> None:
        """Set D to zero and K to the kernel, filled up with random values that D can bring in."""
        flat, K = weight.detach().flatten(2), self.get_parameter("K")
        K.copy_(torch.randn_like(K) * flat.std(correction=0))
        K[..., : flat.shape[2]] = flat
        self.get_parameter("D").zero_()

    def product(self, dtype: torch.dtype) -> Tensor:
        """Return the kernel in ``dtype``."""
        K, D = self.get_parameter("K").to(dtype), self.get_parameter("D").to(dtype)
        eye = torch.eye(*D.shape[1:], dtype=dtype, device=D.device)
        W: Tensor = torch.einsum("ips,ois->oip", D + eye, K)
        return W.reshape(self.kernel_shape).contiguous()

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return K and D."""
        return [self.get_parameter("K"), self.get_parameter("D")]

    def extra_repr(self) -> str:
        """Show the multiplier when the network is printed."""
        return f"multiplier={self.multiplier}"
