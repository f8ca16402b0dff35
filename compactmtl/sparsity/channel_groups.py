"""The groups of one kernel: which of its entries become zero together."""

import dataclasses
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

By = Literal["input", "filter", "weight"]
"""What a group is: all that reads one input channel, one filter, or a single weight."""

ALL = slice(None)

AXES: dict[str, int | None] = {"input": 1, "filter": 0, "weight": None}


class FactoredKernel(Protocol):
    """A kernel (O, I, y, x) = L V, folded, as ``overparam`` makes it: L (O*y, r), V (r, I*x).

    Input channel c is exactly zero where the x columns of V that belong to it are.
    """

    kernel_shape: tuple[int, ...]

    def input_factor(self) -> nn.Parameter | None:
        """Return V; None where it is no single parameter."""

    def output_factor(self) -> Tensor:
        """Return L, all that stands to the left of V."""


@dataclass(frozen=True, eq=False)
class ChannelGroups:
    """The groups of one kernel W: (O, I, y, x) or (O, I), by default its input channels W[:, c].

    Attributes:
        name: Dotted name of the layer.
        parameter: Its kernel; where the kernel is factored, V.
        dim: The axis of the kernel that counts groups: 1 input channels, 0 filters; None: every
            weight is a group.
        num_groups: Their number.
        scale: sqrt(n_g) with n_g the number of the kernel's entries in a group: its weight in the
            penalty.
        factors: What makes the kernel of ``parameter``; None: it is the kernel.
        places: How many columns of the kernel belong to one input channel, side by side: 1, or what
            the layer says as ``places_per_channel``, as one does that reads flattened images.
    """

    name: str
    parameter: nn.Parameter
    dim: int | None
    num_groups: int
    scale: float
    factors: FactoredKernel | None = None
    places: int = 1

    def of(self, parameter: nn.Parameter) -> "ChannelGroups":
        """Return the same groups of another network's parameter of this shape."""
        return dataclasses.replace(self, parameter=parameter)

    @property
    def axis_size(self) -> int:
        """Length of the axis that parts are cut from; where every weight is a group, filters."""
        return self.num_groups if self.dim is not None else len(self.parameter)

    def rows(self, tensor: Tensor, part: slice = ALL) -> Tensor:
        """Return a tensor of the parameter's shape as (num_groups, n), one group per row.

        Args:
            tensor: The parameter, or what belongs to it entry by entry.
            part: Only this part of the axis that counts groups.
        """
        cut = self._cut(tensor, part)
        return cut.reshape(-1, 1) if self.dim is None else cut.flatten(1)

    @torch.no_grad()
    def write(self, rows: Tensor, part: slice = ALL) -> None:
        """Overwrite the parameter, or a part of it, by rows."""
        cut = self._cut(self.parameter, part)
        cut.copy_(rows.reshape(cut.shape))

    @torch.no_grad()
    def clear(self, zero: Tensor) -> None:
        """Set entries to zero.

        Args:
            zero: A mask of groups (num_groups,), or of the parameter's shape.
        """
        if self.dim is None or zero.shape == self.parameter.shape:
            self.parameter.masked_fill_(zero.view_as(self.parameter), 0.0)
            return
        target = self._by_axis(self.parameter)
        shape = [1] * target.dim()
        shape[self.dim] = -1
        target.masked_fill_(zero.view(shape), 0.0)

    @torch.no_grad()
    def is_zero(self) -> Tensor:
        """Tell which groups are exactly zero: (num_groups,)."""
        return (self.rows(self.parameter) == 0).all(dim=1)

    @torch.no_grad()
    def norms(self) -> Tensor:
        """Return the Euclidean norm of every group of the kernel: (num_groups,)."""
        norms: Tensor
        if self.factors is None:
            norms = torch.linalg.vector_norm(self.rows(self.parameter), dim=1)
        else:
            kernel = self._by_axis(self.factors.output_factor() @ self.parameter)
            norms = torch.linalg.vector_norm(kernel, dim=(0, 2))
        return norms

    def _cut(self, tensor: Tensor, part: slice) -> Tensor:
        return self._by_axis(tensor).movedim(self.dim or 0, 0)[part]

    def _by_axis(self, tensor: Tensor) -> Tensor:
        """Give columns, which may count channels and places together, an axis for each."""
        if self.factors is None and self.places == 1:
            return tensor
        return tensor.view(len(tensor), self.num_groups, -1)
