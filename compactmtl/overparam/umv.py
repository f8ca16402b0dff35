"""U M V: a kernel as the product of shared factors and one diagonal per task.

Source: Ren & Shi, Learning Compact Neural Networks with Deep Overparameterised Multitask Learning,
equation (1) and section 2.2; the diagonals are vectors and are never made r x r matrices.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, cast

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


class Umv(KernelFactors):
    """W = (U * m) V with m the elementwise product of one vector per task.

    Args:
        weight: The kernel to be replaced: (O, I, y, x) or (O, I).
        tasks: Names of the tasks; the vector of task ``t`` is the parameter ``m_t``.
        rank: Number of columns of U, rows of V and entries of each m.

    Shape:
        U (O*y, rank), V (rank, I*x), m_t (rank,); NaN until filled.
    """

    method: ClassVar[str] = "umv"

    def __init__(self, weight: Tensor, tasks: Sequence[str], rank: int) -> None:
        super().__init__(weight, tasks)
        self.rank = rank
        rows, columns = kernel_matrix(weight).shape
        shapes: dict[str, tuple[int, ...]] = {"U": (rows, rank), "V": (rank, columns)}
        shapes |= {f"m_{task}": (rank,) for task in tasks}
        for name, shape in shapes.items():
            empty = weight.new_full(shape, math.nan)
            self.register_parameter(name, nn.Parameter(empty, requires_grad=weight.requires_grad))

    @classmethod
    def why_not(cls, layer: nn.Module) -> str | None:
        """Return why a layer is left dense: grouped convolutions are."""
        groups = getattr(layer, "groups", 1)
        return None if groups == 1 else f"grouped convolution (groups={groups})"

    @classmethod
    def fitted(cls, weight: Tensor, tasks: Sequence[str], *, rank_ratio: float, init: str) -> Self:
        """Factor a kernel with rank ceil(rank_ratio * min(O*y, I*x)).

        Raises:
            UsageError: ``rank_ratio`` is below 1, or ``init`` is unknown.
        """
        if not rank_ratio >= 1.0:
            raise UsageError(
                f"rank_ratio (={rank_ratio}) must be at least 1",
                hint="below full rank the layer is compressed, not overparameterised",
            )
        if init not in INITS:
            raise UsageError(f"init is `{init}`, expected one of: {', '.join(INITS)}")
        full_rank = min(kernel_matrix(weight).shape)
        # 1.1 * 10 is 11.000000000000002 in floating point, and the user means 11.
        factors = cls(weight, tasks, math.ceil(rank_ratio * full_rank - 1e-9))
        factors.fill(*INITS[init](weight.detach(), factors.rank))
        return factors

    @classmethod
    def unfilled(cls, weight: Tensor, tasks: Sequence[str], settings: Mapping[str, Any]) -> Self:
        """Build factors of the right shapes that are NaN until a state dict is loaded."""
        return cls(weight, tasks, int(settings["rank"]))

    def settings(self) -> dict[str, Any]:
        """Return the rank."""
        return {"rank": self.rank}

    def factor(self, weight: Tensor) -> None:
        """Overwrite U and V by the spectral factors of a kernel, and every m by ones."""
        self.fill(*spectral_factors(weight.detach(), self.rank))

    @torch.no_grad()
    def fill(self, left: Tensor, right: Tensor) -> None:
        """Copy U and V, rounding them once, and set every m to ones."""
        self.get_parameter("U").copy_(left)
        self.get_parameter("V").copy_(right)
        for task in self.tasks:
            self.vector(task).fill_(1.0)

    def vector(self, task: str) -> nn.Parameter:
        """Return m of one task, shape (rank,)."""
        return cast(nn.Parameter, self._parameters[f"m_{task}"])

    def product(self, dtype: torch.dtype) -> Tensor:
        """Return the kernel ((U * m) V), folded, in ``dtype``."""
        U, V = self.get_parameter("U").to(dtype), self.get_parameter("V").to(dtype)
        m = self.vector(self.tasks[0]).to(dtype)
        for task in self.tasks[1:]:
            m = m * self.vector(task).to(dtype)
        return kernel_of_matrix((U * m) @ V, self.kernel_shape)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return U and V."""
        return [self.get_parameter("U"), self.get_parameter("V")]

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return m of one task."""
        return [self.vector(task)]

    def reach(self, task: str) -> Tensor:
        """Return max |m - 1| of one task, a scalar."""
        return (self.vector(task).detach() - 1.0).abs().amax()

    def extra_repr(self) -> str:
        """Show rank and tasks when the network is printed."""
        return f"rank={self.rank}, tasks={', '.join(self.tasks)}"
