"""Whether two whole networks compute the same, where a network may choose by what it finds.

A detector keeps the boxes above a score. Rounding moves scores, so in float32 two equal networks
may keep another box, or another pixel of a mask. In float64 rounding is too small to flip anything
but a tie, so there both must choose the same; what differs in float32 is counted.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compactmtl.compiler.call import Call
from compactmtl.compiler.capture import evaluating
from compactmtl.compiler.precision import to_double
from compactmtl.compiler.threshold import relative_change

TOLERANCE = 1e-3
"""Root mean square of a network's change in float32, relative. It finds a part that is wired
wrongly; what the part computes is proved on the part, to rounding. A network that branches on data
may amplify rounding, so there is no tighter bound for all."""
TOLERANCE_64 = 1e-9
"""The same in float64."""


@dataclass(frozen=True)
class Change:
    """How far the results of two networks are apart.

    Attributes:
        rms: Root mean square, relative, the worst of all tensors of equal shapes.
        num_flipped: Whole numbers that differ: labels, pixels of masks and maps.
        num_reshaped: Tensors of another shape: another number of things was found.
    """

    rms: float
    num_flipped: int = 0
    num_reshaped: int = 0

    @property
    def chose_otherwise(self) -> bool:
        """Tell whether anything was chosen otherwise."""
        return self.num_flipped + self.num_reshaped > 0

    def exceeds(self, tolerance: float) -> bool:
        """Tell whether anything was chosen otherwise, or values are further apart; NaN is."""
        return self.chose_otherwise or not self.rms <= tolerance

    def __str__(self) -> str:
        """Say it in words."""
        words = f"{self.rms:.1e} (root mean square, relative)"
        if self.num_flipped:
            words += f", {self.num_flipped} whole numbers"
        if self.num_reshaped:
            words += f", {self.num_reshaped} tensors have another shape"
        return words


def change(before: Any, after: Any) -> Change:
    """Compare what two networks returned, tensor by tensor."""
    rms, num_flipped, num_reshaped = 0.0, 0, 0
    for old, new in zip(_tensors(before), _tensors(after), strict=True):
        if old.shape != new.shape:
            num_reshaped += 1
        elif old.is_floating_point():
            found = relative_change(old, new)["rms"]
            rms = found if not found <= rms else rms
        else:
            num_flipped += int((old != new).sum())
    return Change(rms, num_flipped, num_reshaped)


def run(network: nn.Module, call: Call) -> Any:
    """Return what a network yields in eval mode."""
    args, kwargs = call.arguments(call.inputs)
    with evaluating(network), torch.no_grad():
        return network(*args, **kwargs)


def in_double(call: Call) -> Call:
    """Return a call with its floats in float64."""
    return call.on(tuple(to_double(value) for value in call.inputs))


def double_network(network: nn.Module) -> nn.Module:
    """Return a copy of a network in float64."""
    return copy.deepcopy(network).double()


def _tensors(results: Any) -> list[Tensor]:
    return [value for value in tree_leaves(results) if isinstance(value, Tensor)]
