"""What the calls of one layer have in common: gathered call by call, while liveness is found."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Joint:
    """What is known of a layer from one of its calls, or from several.

    Attributes:
        rows: Rows that are live in any of the calls.
        columns: Columns that a live row uses in any of the calls.
        coming: Per column its constant (float64): the same in all calls in which a live row uses
            it; NaN where it varies or differs, 0 where no live row uses it.
        everywhere: The same for all of the calls, whether their live rows use the column or not.
        has_border: Whether a call sees zeros around its input.
    """

    rows: Tensor
    columns: Tensor
    coming: Tensor
    everywhere: Tensor
    has_border: bool

    @classmethod
    def of_call(cls, rows: Tensor, columns: Tensor, coming: Tensor, *, has_border: bool) -> "Joint":
        """Return what one call says.

        Args:
            rows: Live rows.
            columns: Columns they use.
            coming: The constants of the input.
            has_border: Whether it sees zeros around its input.
        """
        used = torch.where(columns, coming, torch.zeros_like(coming))
        return cls(rows, columns, used, coming, has_border)

    def with_call(self, other: "Joint") -> "Joint":
        """Return what both say. Rows and columns only ever grow, constants only ever get fewer."""
        own = torch.where(other.columns, other.coming, self.coming)
        both = common([self.coming, other.coming])
        return Joint(
            self.rows | other.rows,
            self.columns | other.columns,
            torch.where(self.columns & other.columns, both, own),
            common([self.everywhere, other.everywhere]),
            self.has_border or other.has_border,
        )

    def equals(self, other: "Joint") -> bool:
        """Tell whether both say the same."""
        return (
            torch.equal(self.rows, other.rows)
            and torch.equal(self.columns, other.columns)
            and torch.equal(self.coming.isnan(), other.coming.isnan())
            and torch.equal(self.everywhere.isnan(), other.everywhere.isnan())
            and self.has_border == other.has_border
        )

    @property
    def constants(self) -> Tensor:
        """The constants that can be folded for all calls at once, NaN where a column is read.

        Without a border they go into the bias of the rows that use them, so it is enough that they
        are constants there. With one, a carrier stands for them wherever one of them is used, so
        they must be constants everywhere; all but 0, which needs no carrier.
        """
        if not self.has_border:
            return self.coming
        lonely = (self.coming != 0) & self.everywhere.isnan()
        return torch.where(lonely, torch.full_like(self.coming, torch.nan), self.coming)


def common(constants: Sequence[Tensor]) -> Tensor:
    """Return the constants that are the same in all calls, NaN elsewhere."""
    first = constants[0]
    for other in constants[1:]:
        first = torch.where(first == other, first, torch.full_like(first, torch.nan))
    return first
