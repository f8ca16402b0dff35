"""The schedules a recipe can name: constant, ramp, ramp until the target is reached, once."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from compactmtl.errors import RecipeError
from compactmtl.sparsity.schedule import Schedule
from compactmtl.sparsity.target import Target
from compactmtl.sparsity.target_cost import TargetCost

if TYPE_CHECKING:  # the recipe needs pydantic, this package only torch
    from compactmtl.recipe import SparsitySection


class Constant(Schedule):
    """lam from start to stop."""

    def strength(self, progress: float, group_sparsity: float) -> float:
        """Return lam."""
        return self.lam


class Ramp(Schedule):
    """From 0 at start linearly to lam at stop."""

    def strength(self, progress: float, group_sparsity: float) -> float:
        """Return the ramp's value."""
        return self.lam * (progress - self.start) / (self.stop - self.start)


class Once(Schedule):
    """No penalty at all; at start the smallest groups become zero, ``target`` of all of them.

    Args:
        target: Wanted share of zero groups.
        start: Progress at which that happens.
    """

    def __init__(self, target: float, start: float) -> None:
        super().__init__(0.0, start, 1.0)
        self.target = target

    def strength(self, progress: float, group_sparsity: float) -> float:
        """Return 0."""
        return 0.0


def make_schedule(
    section: "SparsitySection", measure: Callable[[], float] | None = None
) -> Schedule:
    """Build the schedule a recipe describes.

    Args:
        section: The recipe's.
        measure: Returns the network's present cost, for a target of multiplications or latency.

    Raises:
        RecipeError: There is such a target, and nothing to measure it by.
    """
    lam = section.lam if section.lam_rel is None else section.lam_rel
    if section.schedule == "constant":
        return Constant(lam, section.start, section.stop)
    if section.schedule == "ramp":
        return Ramp(lam, section.start, section.stop)
    if section.schedule == "once":
        assert section.target is not None, "the recipe checks that"
        return Once(section.target, section.start)
    if section.target is not None:
        return Target(section.target, lam, section.start, section.stop)
    wanted = section.target_macs or section.target_latency_ms
    assert wanted is not None, "the recipe checks that a target schedule has a target"
    if measure is None:
        raise RecipeError(
            "sparsity.target_macs and sparsity.target_latency_ms need a cost model",
            hint="`compactmtl train` passes the compiler's; in Python: fit(..., cost=...)",
        )
    return TargetCost(wanted, lam, section.start, section.stop, measure)
