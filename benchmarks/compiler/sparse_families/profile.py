"""The synthetic 70 % profile: which share of its input groups each layer loses, by depth."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from sparse_families.sparsify import num_columns, prunable, zero_shares

TOTAL = 0.70
EARLY, MIDDLE = 0.275, 0.90


@dataclass(frozen=True)
class Corners:
    """Where the profile bends: depths, as the share of all input groups that come before.

    Attributes:
        rise: The early part ends.
        top: The middle begins.
        fall: The middle ends; from there on the share falls to that of the last layer.
    """

    rise: float
    top: float
    fall: float

    def share_at(self, depth: float, last: float) -> float:
        """Return the share of zero groups at a depth in [0, 1]; ``last`` is that at depth 1."""
        points = [
            (0.0, EARLY), (self.rise, EARLY), (self.top, MIDDLE), (self.fall, MIDDLE), (1.0, last)
        ]  # fmt: skip
        for (left, low), (right, high) in pairwise(points):
            if depth <= right:
                return low + (high - low) * (depth - left) / (right - left)
        return last


RESIDUAL = Corners(rise=0.02, top=0.10, fall=0.50)
"""ResNets, whose groups are mostly late: the gather bound of ResNet-50 is 5.4 x fewer MACs."""
MIRRORED = Corners(rise=0.01, top=0.03, fall=0.06)
"""Encoder-decoders, whose groups are mostly in the middle of all layers: SegNet has 5.6 x fewer."""


def profile(
    network: nn.Module, corners: Corners = RESIDUAL, keep: tuple[str, ...] = ()
) -> dict[str, float]:
    """Return per prunable layer the share of zero groups: little early, most in the middle.

    The share of the last layers is what brings the total to 70 %.
    """
    sizes = {name: num_columns(layer) for name, layer in prunable(network, keep)}
    total, before, depths = sum(sizes.values()), 0, {}
    for name, size in sizes.items():
        depths[name] = (before + size / 2) / total
        before += size

    def zeros(last: float) -> int:
        return sum(round(corners.share_at(depths[n], last) * size) for n, size in sizes.items())

    last = solve(zeros, TOTAL * total)
    return {name: corners.share_at(depth, last) for name, depth in depths.items()}


def solve(increasing: Callable[[float], float], wanted: float) -> float:
    """Return where an increasing function on [0, 1] reaches a value, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if increasing(middle) < wanted else (low, middle)
    return high


def apply_profile(
    network: nn.Module, seed: int, corners: Corners = RESIDUAL, keep: tuple[str, ...] = ()
) -> nn.Module:
    """Set input groups to zero by the profile, all layers outside ``keep`` together 70 %."""
    return zero_shares(network, profile(network, corners, keep), seed, keep)
