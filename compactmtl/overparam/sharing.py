"""Two other ways to share the factors of a kernel among tasks: the ablations of the paper.

It gives each a sentence; what they say exactly is our reading, and so marked in ``docs``.

Source: Ren & Shi, section 3.3, rows "mshare" and "uvshare" of the ablation table.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from compactmtl.overparam.factored import Factored, why_too_few
from compactmtl.overparam.umv import Umv


class MShare(Umv):
    """W = (U * m) V with one m for all tasks, cut into a block per task.

    Block ``m_t`` is trained by the loss of task t alone; the blocks stand one after the other in
    the diagonal instead of being multiplied.
    """

    method: ClassVar[str] = "mshare"

    @classmethod
    def why_not(cls, layer: nn.Module, tasks: Sequence[str]) -> str | None:
        """Return why a layer is left dense: grouped, or of a rank below the number of tasks."""
        return super().why_not(layer, tasks) or why_too_few(layer, tasks)

    @classmethod
    def why_not_by_group(cls, layer: nn.Module, tasks: Sequence[str]) -> str | None:
        """Return why groups get no factors of their own: depthwise, or of too low a rank."""
        return super().why_not_by_group(layer, tasks) or why_too_few(layer, tasks)

    def shapes(self, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        """Return U, V and a block of m per task."""
        shapes: dict[str, tuple[int, ...]] = {"U": (rows, self.rank), "V": (self.rank, columns)}
        return shapes | {f"m_{t}": (b.stop - b.start,) for t, b in self.blocks().items()}

    def diagonal(self, dtype: torch.dtype) -> Tensor:
        """Return the blocks, one after the other."""
        return torch.cat([self.vector(task).to(dtype) for task in self.tasks], dim=-1)


class UvShare(Factored):
    """W = (U * m) V with the columns of U and the rows of V cut into a block per task.

    ``U_t`` (O*y, block) and ``V_t`` (block, I*x) are trained by the loss of task t alone; ``m``
    (rank,) by all together.
    """

    method: ClassVar[str] = "uvshare"
    trains_by_task: ClassVar[bool] = True

    @classmethod
    def why_not(cls, layer: nn.Module, tasks: Sequence[str]) -> str | None:
        """Return why a layer is left dense: grouped, or of a rank below the number of tasks."""
        return super().why_not(layer, tasks) or why_too_few(layer, tasks)

    @classmethod
    def why_not_by_group(cls, layer: nn.Module, tasks: Sequence[str]) -> str | None:
        """Return why groups get no factors of their own: depthwise, or of too low a rank."""
        return super().why_not_by_group(layer, tasks) or why_too_few(layer, tasks)

    def shapes(self, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        """Return m, and a block of U and of V per task."""
        shapes: dict[str, tuple[int, ...]] = {"m": (self.rank,)}
        for task, block in self.blocks().items():
            size = block.stop - block.start
            shapes |= {f"U_{task}": (rows, size), f"V_{task}": (size, columns)}
        return shapes

    @torch.no_grad()
    def fill(self, left: Tensor, right: Tensor) -> None:
        """Copy the blocks of U and V, rounding them once, and set m to ones."""
        self.get_parameter("m").fill_(1.0)
        for task, block in self.blocks().items():
            self.get_parameter(f"U_{task}").copy_(left[..., block])
            self.get_parameter(f"V_{task}").copy_(right[..., block, :])

    def left(self, dtype: torch.dtype) -> Tensor:
        """Return the blocks of U beside each other."""
        return torch.cat([self.get_parameter(f"U_{t}").to(dtype) for t in self.tasks], dim=-1)

    def right(self, dtype: torch.dtype) -> Tensor:
        """Return the blocks of V below each other."""
        return torch.cat([self.get_parameter(f"V_{t}").to(dtype) for t in self.tasks], dim=-2)

    def diagonal(self, dtype: torch.dtype) -> Tensor:
        """Return m."""
        return self.get_parameter("m").to(dtype)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return m."""
        return [self.get_parameter("m")]

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return one task's blocks of U and V."""
        return [self.get_parameter(f"U_{task}"), self.get_parameter(f"V_{task}")]
