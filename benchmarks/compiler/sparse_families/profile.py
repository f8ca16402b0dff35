"""The synthetic 70 % profile: which share of its input groups each layer loses, by depth."""

from collections.abc import Callable
from itertools import pairwise

from torch import nn

from sparse_families.sparsify import num_columns, prunable, zero_shares

TOTAL = 0.70
EARLY, MIDDLE = 0.275, 0.90
RISE, TOP, FALL = 0.05, 0.25, 0.65
"""Depth, as the share of all input groups that come before, at which the early part ends, the
middle is reached, and the middle ends."""


def share_at(depth: float, last: float) -> float:
    """Return the share of zero groups at a depth in [0, 1]; ``last`` is that at depth 1."""
    corners = [(0.0, EARLY), (RISE, EARLY), (TOP, MIDDLE), (FALL, MIDDLE), (1.0, last)]
    for (left, low), (right, high) in pairwise(corners):
        if depth <= right:
            return low + (high - low) * (depth - left) / (right - left)
    return last


def profile(network: nn.Module, keep: tuple[str, ...] = ()) -> dict[str, float]:
    """Return per prunable layer the share of zero groups: little early, most in the middle.

    The share of the last layers is what brings the total to 70 %.
    """
    sizes = {name: num_columns(layer) for name, layer in prunable(network, keep)}
    total, before, depths = sum(sizes.values()), 0, {}
    for name, size in sizes.items():
        depths[name] = (before + size / 2) / total
        before += size

    def zeros(last: float) -> int:
        return sum(round(share_at(depths[name], last) * size) for name, size in sizes.items())

    last = solve(zeros, TOTAL * total)
    return {name: share_at(depth, last) for name, depth in depths.items()}


def solve(increasing: Callable[[float], float], wanted: float) -> float:
    """Return where an increasing function on [0, 1] reaches a value, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if increasing(middle) < wanted else (low, middle)
    return high


def apply_profile(network: nn.Module, seed: int, keep: tuple[str, ...] = ()) -> nn.Module:
    """Set input groups to zero by the profile, all layers outside ``keep`` together 70 %."""
    return zero_shares(network, profile(network, keep), seed, keep)
