"""U M V: a kernel as the product of shared factors and one diagonal per task.

Source: Ren & Shi, Learning Compact Neural Networks with Deep Overparameterised Multitask Learning,
equation (1) and section 2.2.
"""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from compactmtl.overparam.factored import Factored


class Umv(Factored):
    """W = (U * m) V with m the elementwise product of one vector per task.

    The vector of task ``t`` is the parameter ``m_t`` (rank,).
    """

    method: ClassVar[str] = "umv"
    trains_by_task: ClassVar[bool] = True

    def shapes(self, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        """Return U, V and an m of the full rank per task."""
        shapes: dict[str, tuple[int, ...]] = {"U": (rows, self.rank), "V": (self.rank, columns)}
        return shapes | {f"m_{task}": (self.rank,) for task in self.tasks}

    @torch.no_grad()
    def fill(self, left: Tensor, right: Tensor) -> None:
        """Copy U and V, rounding them once, and set every m to ones."""
        self.get_parameter("U").copy_(left)
        self.get_parameter("V").copy_(right)
        for task in self.tasks:
            self.vector(task).fill_(1.0)

    def vector(self, task: str) -> nn.Parameter:
        """Return m of one task."""
        return cast(nn.Parameter, self._parameters[f"m_{task}"])

    def diagonal(self, dtype: torch.dtype) -> Tensor:
        """Return the product of all m."""
        m = self.vector(self.tasks[0]).to(dtype)
        for task in self.tasks[1:]:
            m = m * self.vector(task).to(dtype)
        return m

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return m of one task."""
        return [self.vector(task)]

    def reach(self, task: str) -> Tensor:
        """Return max |m - 1| of one task, a scalar."""
        return (self.vector(task).detach() - 1.0).abs().amax()
