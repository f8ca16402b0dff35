"""The schedules a recipe can name: constant, ramp, and ramp until the target is reached."""

from typing import TYPE_CHECKING

from compactmtl.sparsity.schedule import Schedule
from compactmtl.sparsity.target import Target

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


def make_schedule(section: "SparsitySection") -> Schedule:
    """Build the schedule a recipe describes."""
    if section.schedule == "constant":
        return Constant(section.lam, section.start, section.stop)
    if section.schedule == "ramp":
        return Ramp(section.lam, section.start, section.stop)
    assert section.target is not None, "the recipe checks that a target schedule has a target"
    return Target(section.target, section.lam, section.start, section.stop)
