"""What methods share that write a kernel as a product of two matrices, with a diagonal or without.

Source: Ren & Shi, Learning Compact Neural Networks with Deep Overparameterised Multitask Learning,
equation (1) and section 2.2; the diagonals are vectors and are never made r x r matrices.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from compactmtl.errors import UsageError
from compactmtl.overparam.kernel import KernelFactors
from compactmtl.overparam.spectral import (
    direct_factors,
    kernel_matrix,
    kernel_of_matrix,
    spectral_factors,
)

INITS = {"spectral": spectral_factors, "direct": direct_factors}


class Factored(KernelFactors):
    """W = (U * m) V, folded to a kernel; a subclass says which parameters U, V and m are.

    Args:
        weight: The kernel to be replaced: (O, I, y, x) or (O, I).
        tasks: Names of the tasks.
        rank: Number of columns of U and rows of V.
        groups: Those of a grouped convolution; each has factors of its own.

    Shape:
        U (O*y, rank), V (rank, I*x), m (rank,), with (groups,) in front where there are several;
        parameters are NaN until filled.
    """

    def __init__(self, weight: Tensor, tasks: Sequence[str], rank: int, groups: int = 1) -> None:
        super().__init__(weight, tasks)
        self.rank, self.groups = rank, groups
        *several, rows, columns = kernel_matrix(_split(weight, groups)).shape
        for name, shape in self.shapes(rows, columns).items():
            empty = weight.new_full((*several, *shape), math.nan)
            self.register_parameter(name, nn.Parameter(empty, requires_grad=weight.requires_grad))

    @classmethod
    def why_not_by_group(cls, layer: nn.Module, tasks: Sequence[str]) -> str | None:
        """Return why the groups of a convolution get no factors of their own, or None.

        A group of a depthwise one has a single input channel: its matrix is one filter's own.
        """
        assert isinstance(layer, nn.Conv2d)
        if layer.in_channels == layer.groups:
            return f"depthwise convolution (groups={layer.groups})"
        return None

    @classmethod
    def fitted(
        cls,
        weight: Tensor,
        tasks: Sequence[str],
        *,
        ratio: float | None,
        init: str,
        groups: int = 1,
    ) -> Self:
        """Factor a kernel with rank ceil(ratio * min(O*y, I*x)); ratio None is 1.

        With several groups these are the channels of one of them.

        Raises:
            UsageError: ``ratio`` is below 1, or ``init`` is unknown.
        """
        ratio = 1.0 if ratio is None else ratio
        if not ratio >= 1.0:
            raise UsageError(
                f"ratio (={ratio}) must be at least 1",
                hint="below full rank the layer is compressed, not overparameterised",
            )
        if init not in INITS:
            raise UsageError(f"init is `{init}`, expected one of: {', '.join(INITS)}")
        split = _split(weight.detach(), groups)
        full_rank = min(kernel_matrix(split).shape[-2:])
        # 1.1 * 10 is 11.000000000000002 in floating point, and the user means 11.
        factors = cls(weight, tasks, math.ceil(ratio * full_rank - 1e-9), groups)
        factors.fill(*INITS[init](split, factors.rank))
        return factors

    @classmethod
    def unfilled(cls, weight: Tensor, tasks: Sequence[str], settings: Mapping[str, Any]) -> Self:
        """Build factors of the right shapes that are NaN until a state dict is loaded."""
        return cls(weight, tasks, int(settings["rank"]), int(settings.get("groups", 1)))

    def settings(self) -> dict[str, Any]:
        """Return the rank, and the groups where there are several."""
        return {"rank": self.rank} | ({"groups": self.groups} if self.groups > 1 else {})

    def factor(self, weight: Tensor) -> None:
        """Overwrite U and V by the spectral factors of a kernel, and every m by ones."""
        self.fill(*spectral_factors(_split(weight.detach(), self.groups), self.rank))

    def product(self, dtype: torch.dtype) -> Tensor:
        """Return the kernel ((U * m) V), folded, in ``dtype``."""
        left, right, diagonal = self.left(dtype), self.right(dtype), self.diagonal(dtype)
        if diagonal is not None:
            left = left * diagonal.unsqueeze(-2)
        if self.groups == 1:
            return kernel_of_matrix(left @ right, self.kernel_shape)
        out, *rest = self.kernel_shape
        shape = (self.groups, out // self.groups, *rest)
        return kernel_of_matrix(left @ right, shape).flatten(0, 1)

    @abstractmethod
    def shapes(self, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        """Return each parameter's shape in a group, of a matrix of this many rows and columns."""

    @abstractmethod
    def fill(self, left: Tensor, right: Tensor) -> None:
        """Copy U and V, rounding them once, and set every m to ones."""

    def input_factor(self) -> nn.Parameter | None:
        """Return V; None where it is cut into blocks. Its columns belong to input channels."""
        return self._parameters.get("V")

    def output_factor(self) -> Tensor:
        """Return U * m, all that stands to the left of V."""
        dtype = self.shared_parameters()[0].dtype
        diagonal = self.diagonal(dtype)
        return self.left(dtype) if diagonal is None else self.left(dtype) * diagonal

    def left(self, dtype: torch.dtype) -> Tensor:
        """Return U."""
        return self.get_parameter("U").to(dtype)

    def right(self, dtype: torch.dtype) -> Tensor:
        """Return V."""
        return self.get_parameter("V").to(dtype)

    def diagonal(self, dtype: torch.dtype) -> Tensor | None:
        """Return m; None where the method has none."""
        return None

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return U and V."""
        return [self.get_parameter("U"), self.get_parameter("V")]

    def blocks(self) -> dict[str, slice]:
        """Cut the rank into one block per task, contiguous, sizes differing by at most 1."""
        num = len(self.tasks)
        ends = [(self.rank * i + num - 1) // num for i in range(num + 1)]
        return {t: slice(*ends[i : i + 2]) for i, t in enumerate(self.tasks)}

    def extra_repr(self) -> str:
        """Show rank and tasks when the network is printed."""
        groups = f", groups={self.groups}" if self.groups > 1 else ""
        return f"rank={self.rank}{groups}, tasks={', '.join(self.tasks)}"


def _split(weight: Tensor, groups: int) -> Tensor:
    """Return the kernels (groups, O / groups, I, y, x); one group's as it is."""
    return weight if groups == 1 else weight.reshape(groups, -1, *weight.shape[1:])


def why_too_few(layer: nn.Module, tasks: Sequence[str]) -> str | None:
    """Return why a kernel cannot be cut into one block per task, or None if it can."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    split = _split(weight, getattr(layer, "groups", 1))
    rank = min(kernel_matrix(split).shape[-2:])
    return (
        None if rank >= len(tasks) else f"rank {rank} has no block for each of {len(tasks)} tasks"
    )
