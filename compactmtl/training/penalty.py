"""Drive the strength of the sparsity penalty through a run, and say what came of it."""

import copy
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.errors import RecipeError, TrainingError
from compactmtl.recipe import Recipe
from compactmtl.sparsity import (
    ChannelGroups,
    Once,
    ProximalAdamW,
    Target,
    TargetCost,
    group_sparsity,
    make_schedule,
    prune_smallest,
)
from compactmtl.training.phases import whole_epochs
from compactmtl.training.seeding import preserved_rng

CostFunction = Callable[[nn.Module, Tensor], float]
"""Returns what a network costs once it is compiled, on an image (1, 3, H, W), both on the CPU."""

TICKS, COST_TICKS = 100, 40
"""How often in its window the schedule is asked; a cost is measured by compiling the network."""
FIRST = 10
"""Steps after which the gradient's rms is known well enough to be a unit."""
NEAR = 0.02
"""How far from its target a run may end."""


class Penalty:
    """The schedule of a recipe's ``sparsity``, and its unit.

    Args:
        recipe: With a [sparsity] section.
        num_steps: Steps of the whole run.
        measure: Returns the present cost of the network; for targets of cost alone.

    Raises:
        RecipeError: A target of cost, and nothing to measure it by.
    """

    def __init__(self, recipe: Recipe, num_steps: int, measure: Callable[[], float] | None) -> None:
        assert recipe.sparsity is not None
        section = whole_epochs(recipe.sparsity, recipe.train.epochs)
        self.schedule = make_schedule(section, measure)
        self.num_steps = num_steps
        self.unit: float | None = 1.0 if section.lam_rel is None else None
        """What the schedule's strength is a multiple of; None: not known yet."""
        ticks = COST_TICKS if isinstance(self.schedule, TargetCost) else TICKS
        self.every = max(1, int((section.stop - section.start) * num_steps / ticks))

    def step(
        self, optimizer: ProximalAdamW, groups: Sequence[ChannelGroups], step: int, place: str
    ) -> None:
        """Set the optimiser's lam for the next step (from 0), and freeze the zeros at the end.

        Raises:
            TrainingError: Every group is zero.
        """
        start = round(self.schedule.start * self.num_steps)
        if optimizer.frozen or (step - start) % self.every:
            return
        share = check_alive(optimizer, groups, place)
        if self.unit is None:
            self.unit = self._measured_unit(optimizer)
            if self.unit is None:
                return
        optimizer.lam = self.unit * self.schedule.lam_at(step / self.num_steps, share)
        self.limit(optimizer, groups)
        if self.schedule.stopped:
            freeze(optimizer)

    def limit(self, optimizer: ProximalAdamW, groups: Sequence[ChannelGroups]) -> None:
        """Pass on how many groups may be zero by now: a lam far too large kills none early."""
        num_groups = sum(group.num_groups for group in groups)
        optimizer.max_zero_groups = self.schedule.max_zero_groups(num_groups)

    def end(self, optimizer: ProximalAdamW, groups: Sequence[ChannelGroups]) -> None:
        """Begin the debias phase: what is zero stays zero, after one-shot pruning if asked for.

        Raises:
            UsageError: So many groups cannot be pruned.
        """
        if isinstance(self.schedule, Once) and not optimizer.frozen:
            prune_smallest(groups, self.schedule.target)
        freeze(optimizer)

    def missed(self, groups: Sequence[ChannelGroups]) -> str:
        """Say by how much the run is away from its target now; "" if it is near, or has none."""
        schedule, hint = self.schedule, "a longer window, a larger lam or a nearer target helps"
        if isinstance(schedule, TargetCost):
            cost, wanted = schedule.measure(), schedule.wanted_cost
            if cost > wanted + NEAR * (schedule.reference or cost):
                return f"cost of the compiled network: {cost:.4g}, expected {wanted:.4g}; {hint}"
        elif isinstance(schedule, Target):
            share = group_sparsity(groups)
            if share < schedule.target - NEAR:
                return f"zero groups: {share:.1%}, expected {schedule.target:.1%}; {hint}"
        return ""

    def check_share(self, groups: Sequence[ChannelGroups]) -> None:
        """Refuse a share of zero groups that would take the last one of a layer.

        Raises:
            RecipeError: It is out of reach.
        """
        if not isinstance(self.schedule, Target | Once) or isinstance(self.schedule, TargetCost):
            return
        target, num_groups = self.schedule.target, sum(group.num_groups for group in groups)
        possible = num_groups - len(groups)
        if target * num_groups > possible:
            raise RecipeError(
                f"sparsity.target (={target:g}) cannot be reached: of {num_groups} groups "
                f"{possible} can be zero, {possible / num_groups:.1%}; one of every layer stays",
                hint="penalise more layers (sparsity.layers, sparsity.reads), or ask for less",
            )

    def check_reachable(
        self, model: nn.Module, groups: Sequence[ChannelGroups], cost: Callable[[nn.Module], float]
    ) -> None:
        """Refuse a cost that is out of reach even with one live group in each penalised layer.

        Raises:
            RecipeError: It is.
        """
        if not isinstance(self.schedule, TargetCost):
            return
        least = copy.deepcopy(model)
        for group in groups:
            weight = least.get_submodule(group.name).get_parameter("weight")
            group.of(weight).clear(torch.arange(group.num_groups, device=weight.device) > 0)
        reached, wanted = cost(least), self.schedule.wanted_cost
        if reached > wanted:
            raise RecipeError(
                f"a cost of {wanted:.4g} cannot be reached: with one live group in each penalised "
                f"layer {reached:.4g} is left",
                hint="penalise more layers (sparsity.layers, sparsity.reads), or ask for less",
            )

    def record(
        self, optimizer: ProximalAdamW, groups: Sequence[ChannelGroups]
    ) -> dict[str, float | None]:
        """Return what the log keeps: the threshold, and the gradient's rms that is its unit."""
        rms = _median(optimizer.gradient_rms()) if groups else None
        record: dict[str, float | None] = {
            "threshold": optimizer.lam * float(optimizer.param_groups[0]["lr"]),
            "gradient_rms": rms,
        }
        if isinstance(self.schedule, TargetCost):
            record["cost"] = self.schedule.cost
        return record

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        return {**self.schedule.state_dict(), "unit": self.unit}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state from ``state_dict``."""
        self.schedule.load_state_dict(state)
        self.unit = state["unit"]

    def _measured_unit(self, optimizer: ProximalAdamW) -> float | None:
        """Return the median over layers of the gradient's rms; None after too few steps."""
        steps = [float(state["step"]) for state in optimizer.state.values() if "step" in state]
        return _median(optimizer.gradient_rms()) if max(steps, default=0.0) >= FIRST else None


def freeze(optimizer: ProximalAdamW) -> None:
    """End the penalty and keep what is zero at zero."""
    optimizer.lam = 0.0
    if not optimizer.frozen:
        optimizer.freeze_zeros()


def check_alive(optimizer: ProximalAdamW, groups: Sequence[ChannelGroups], place: str) -> float:
    """Return the share of zero groups.

    Raises:
        TrainingError: It is 1: nothing is left to train.
    """
    share = group_sparsity(groups)
    if share == 1.0:
        raise TrainingError(
            f"every group of the penalised layers is zero at lam {optimizer.lam:.4g} in {place}",
            hint="lower sparsity.lam (its unit is the log's gradient_rms), or set sparsity.target",
        )
    return share


def measured(cost: CostFunction, model: nn.Module, image: Tensor) -> float:
    """Return what a network would cost, of a copy, without touching random numbers."""
    with preserved_rng():
        return cost(copy.deepcopy(model).cpu().eval(), image.cpu())


def _median(values: dict[str, Tensor]) -> float | None:
    found = [value for value in torch.stack(list(values.values())).tolist() if value == value]
    return statistics.median(found) if found and all(map(math.isfinite, found)) else None
