"""The controller of a cost, on groups that save unequally and die at strengths of their own."""

import json
import math
import random

import pytest

from compactmtl.errors import UsageError
from compactmtl.sparsity import TargetCost

NUM, TICKS = 800, 40


class Groups:
    """Groups of a network: what each saves, and at which lam it dies."""

    def __init__(self, seed: int, spread: float) -> None:
        draw = random.Random(seed)
        saves = [draw.lognormvariate(0.0, spread) for _ in range(NUM)]
        self.saves = [each / sum(saves) for each in saves]
        self.strength = [draw.lognormvariate(math.log(0.05), 1.0) for _ in range(NUM)]
        self.order = sorted(range(NUM), key=self.strength.__getitem__)
        self.dead = 0
        self.measured = 0

    @property
    def zero_share(self) -> float:
        return self.dead / NUM

    def cost(self) -> float:
        self.measured += 1
        return 40.0 * (1.0 - sum(self.saves[i] for i in self.order[: self.dead]))

    def train(self, lam: float, limit: int) -> None:
        """Let the weakest die whose strength lam exceeds, at most 100 per tick."""
        for _ in range(100):
            if self.dead < min(limit, NUM) and lam > self.strength[self.order[self.dead]]:
                self.dead += 1


def run(wanted: float, lam: float, seed: int, spread: float) -> tuple[Groups, TargetCost]:
    groups = Groups(seed, spread)
    schedule = TargetCost(40.0 * wanted, lam, 0.1, 0.6, groups.cost)
    for tick in range(TICKS + 5):
        progress = 0.1 + 0.5 * tick / TICKS
        strength = schedule.lam_at(progress, groups.zero_share)
        if not schedule.stopped:
            groups.train(strength, schedule.max_zero_groups(NUM))
    return groups, schedule


@pytest.mark.parametrize("wanted", [0.8, 0.5, 0.2])
@pytest.mark.parametrize("lam", [1e-4, 1e-2, 10.0])
@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_the_cost_is_met_within_two_points_from_any_lam(wanted, lam, spread):
    for seed in range(3):
        groups, schedule = run(wanted, lam, seed, spread)
        assert schedule.reached
        assert groups.cost() / 40.0 == pytest.approx(wanted, abs=0.02)


def test_nothing_is_measured_outside_of_the_window():
    groups, schedule = run(0.5, 0.01, 0, 1.0)
    measured = groups.measured
    assert schedule.lam_at(0.7, 0.5) == 0.0
    assert groups.measured == measured
    early = TargetCost(20.0, 0.1, 0.2, 0.6, groups.cost)
    assert early.lam_at(0.1, 0.0) == 0.0
    assert early.max_zero_groups(NUM) == 0
    assert groups.measured == measured


def test_lam_does_not_run_away_while_the_limit_holds():
    _, schedule = run(0.5, 10.0, 0, 1.0)
    assert schedule.current < 100.0


def test_a_network_that_is_cheap_enough_stops_at_once():
    schedule = TargetCost(50.0, 0.1, 0.0, 0.5, lambda: 40.0)
    assert schedule.lam_at(0.0, 0.0) == 0.0
    assert (schedule.stopped, schedule.reached) == (True, True)


def test_the_state_is_json_and_continues_the_same_course():
    groups = Groups(1, 1.0)
    one = TargetCost(20.0, 0.01, 0.0, 0.5, groups.cost)
    for tick in range(10):
        groups.train(one.lam_at(tick / 80, groups.zero_share), one.max_zero_groups(NUM))
    other = TargetCost(20.0, 7.0, 0.0, 0.5, groups.cost)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert other.max_zero_groups(NUM) == one.max_zero_groups(NUM)
    assert other.lam_at(0.13, groups.zero_share) == one.lam_at(0.13, groups.zero_share)


@pytest.mark.parametrize("wanted", [0.0, -1.0, float("inf"), float("nan")])
def test_no_cost_at_all_is_refused(wanted):
    with pytest.raises(UsageError, match="must be greater than 0"):
        TargetCost(wanted, 0.1, 0.0, 0.5, lambda: 1.0)
