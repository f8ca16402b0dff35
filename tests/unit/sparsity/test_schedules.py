import json

import pytest
import torch
from torch import nn

from compactmtl.errors import UsageError
from compactmtl.recipe import SparsitySection
from compactmtl.sparsity import (
    Constant,
    ProximalAdamW,
    Ramp,
    Target,
    group_sparsity,
    groups,
    make_schedule,
)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(0.3, 0.2, 0.6), {0.0: 0.0, 0.19: 0.0, 0.2: 0.3, 0.59: 0.3, 0.6: 0.0, 1.0: 0.0}),
        (Ramp(0.4, 0.2, 0.6), {0.1: 0.0, 0.2: 0.0, 0.3: 0.1, 0.5: 0.3, 0.6: 0.0, 0.9: 0.0}),
    ],
)
def test_constant_and_ramp(schedule, values):
    for progress, expected in values.items():
        assert schedule.lam_at(progress, 0.0) == pytest.approx(expected)
        assert schedule.stopped == (progress >= 0.6)
    assert schedule.max_zero_groups(10) is None
    again = type(schedule)(1.0, 0.0, 1.0)
    again.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert again.stopped


def test_sections_become_schedules():
    constant = make_schedule(SparsitySection(schedule="constant", lam=0.1))
    ramp = make_schedule(SparsitySection(schedule="ramp", lam=0.2, start=0.1, stop=0.9))
    target = make_schedule(SparsitySection(target=0.5, lam=0.3))
    assert [type(s) for s in (constant, ramp, target)] == [Constant, Ramp, Target]
    assert (ramp.lam, ramp.start, ramp.stop) == (0.2, 0.1, 0.9)
    assert target.target == 0.5


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        (Constant, (0.1, 0.5, 0.5), "start < stop"),
        (Ramp, (-0.1, 0.0, 0.5), "lam"),
        (Target, (1.0, 0.1, 0.0, 0.5), "target"),
        (Target, (0.5, 0.0, 0.0, 0.5), "multiplies"),
    ],
)
def test_wrong_settings_are_refused(kind, values, text):
    with pytest.raises(UsageError, match=text):
        kind(*values)


def test_the_controller_raises_lam_below_the_line_and_lowers_it_above():
    low, high = Target(0.5, 0.1, 0.0, 0.5), Target(0.5, 0.1, 0.0, 0.5)
    for step in range(20):
        below = low.lam_at(step / 200, 0.0)
        above = high.lam_at(step / 200, 0.0 if step == 0 else 0.45)
    assert below > 0.2
    assert above < 0.05


def test_a_call_moves_lam_by_a_bounded_factor_however_late_it_comes():
    schedule = Target(0.5, 0.1, 0.0, 1.0)
    assert schedule.lam_at(0.0, 0.0) == 0.1
    assert schedule.lam_at(0.9, 0.0) == pytest.approx(0.3)


def test_the_limit_follows_the_line_and_ends_at_the_target():
    schedule = Target(0.5, 0.1, 0.0, 0.5)
    assert schedule.max_zero_groups(101) == 51
    limits = []
    for step in range(100):
        schedule.lam_at(step / 200, 0.1)
        limits.append(schedule.max_zero_groups(100))
    assert limits == sorted(limits)
    assert (limits[0], limits[-1]) == (15, 50)


def test_reaching_the_target_stops_it_for_good():
    schedule = Target(0.5, 0.1, 0.0, 0.5)
    assert schedule.lam_at(0.1, 0.3) > 0
    assert not schedule.stopped
    assert schedule.lam_at(0.2, 0.5) == 0.0
    assert (schedule.stopped, schedule.reached) == (True, True)
    assert schedule.lam_at(0.3, 0.1) == 0.0


def test_the_end_of_the_window_stops_it_unreached():
    schedule = Target(0.5, 0.1, 0.0, 0.5)
    schedule.lam_at(0.4, 0.49)
    assert schedule.lam_at(0.5, 0.49) == 0.0
    assert (schedule.stopped, schedule.reached) == (True, False)


def test_the_state_is_json_and_continues_the_same_course():
    one, other = Target(0.5, 0.1, 0.0, 0.5), Target(0.5, 0.9, 0.0, 0.5)
    for step in range(10):
        one.lam_at(step / 100, step / 40)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert other.max_zero_groups(1000) == one.max_zero_groups(1000)
    assert other.lam_at(0.15, 0.26) == one.lam_at(0.15, 0.26)


class Net(nn.Module):
    encoder_layers = ("encoder.*",)
    head_reads = ("heads.*",)

    def __init__(self, width: int):
        super().__init__()
        widths = [(3, width), (width, width), (width, width)]
        blocks = [[nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()] for i, o in widths]
        self.encoder = nn.Sequential(*(layer for block in blocks for layer in block))
        self.heads = nn.ModuleDict({"a": nn.Conv2d(width, 2, 1), "b": nn.Conv2d(width, 1, 1)})

    def forward(self, image):
        features = self.encoder(image)
        return {name: head(features) for name, head in self.heads.items()}


def batch(generator: torch.Generator):
    x = nn.functional.avg_pool2d(torch.randn(8, 3, 12, 12, generator=generator), 3, 1, 1) * 2
    a = torch.stack([x[:, 0] * x[:, 1], x[:, 2].abs()], 1)
    b = nn.functional.avg_pool2d(x.sum(1, keepdim=True).relu(), 3, 1, 1)
    return x, {"a": a, "b": b}


def run(lam: float, target: float, every: int, num_steps: int = 240):
    """Train a real network; return the schedule, its shares per tick, and first and last losses."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    net = Net(20)
    found = groups(net)
    optimizer = ProximalAdamW(net.parameters(), groups=found, lam=0.0, lr=3e-3)
    schedule = Target(target, lam, 0.0, 0.5)
    num_groups, shares, losses = sum(g.num_groups for g in found), [], []
    for step in range(num_steps):
        if step % every == 0 and not optimizer.frozen:
            shares.append(group_sparsity(found))
            optimizer.lam = schedule.lam_at(step / num_steps, shares[-1])
            optimizer.max_zero_groups = schedule.max_zero_groups(num_groups)
            if schedule.stopped:
                optimizer.freeze_zeros()
        x, wanted = batch(generator)
        output = net(x)
        loss = sum((output[k] - wanted[k]).square().mean() for k in wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return schedule, [*shares, group_sparsity(found)], losses


@pytest.mark.parametrize("lam", [1e-4, pytest.param(1e-2, marks=pytest.mark.slow), 3.0])
def test_a_real_training_reaches_half_from_any_lam(lam):
    schedule, shares, losses = run(lam, target=0.5, every=2)
    assert schedule.reached
    assert shares[-1] == pytest.approx(0.5, abs=0.03)
    assert max(shares) <= 0.53
    assert sum(losses[-20:]) / 20 < 0.35 * losses[0]


@pytest.mark.parametrize(
    ("target", "every"), [pytest.param(0.3, 10, marks=pytest.mark.slow), (0.7, 2), (0.5, 24)]
)
def test_a_real_training_reaches_other_targets_with_rarer_ticks(target, every):
    _, shares, _ = run(1e-2, target=target, every=every)
    assert shares[-1] == pytest.approx(target, abs=0.03)


def test_an_unreachable_window_reports_it():
    schedule, shares, _ = run(1e-6, target=0.5, every=2, num_steps=8)
    assert (schedule.stopped, schedule.reached) == (True, False)
    assert shares[-1] < 0.5
