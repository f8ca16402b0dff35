"""FNL: a kernel as the product of two matrices of full rank, without diagonals.

Source: Khodak et al. (2021), Initialization and Regularization of Factorized Neural Layers.
"""

from typing import ClassVar

import torch
from torch import Tensor

from compactmtl.overparam.factored import Factored


class Fnl(Factored):
    """W = U V, trained by all tasks alike."""

    method: ClassVar[str] = "fnl"

    def shapes(self, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        """Return U and V."""
        return {"U": (rows, self.rank), "V": (self.rank, columns)}

    @torch.no_grad()
    def fill(self, left: Tensor, right: Tensor) -> None:
        """Copy U and V, rounding them once."""
        self.get_parameter("U").copy_(left)
        self.get_parameter("V").copy_(right)
