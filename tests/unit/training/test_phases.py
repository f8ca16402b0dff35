"""Phases, milestones and the learning rate: functions of the recipe alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.errors import RecipeError
from compactmtl.recipe import SparsitySection, TrainSection
from compactmtl.training.learning_rate import lr_factor
from compactmtl.training.phases import epoch_at, milestones, phases, whole_epochs


def short(plan):
    letters = {"overparam": "o", "dense": ".", "sparse": "s", "debias": "d"}
    letters |= {"overparam-sparse": "S", "overparam-debias": "D"}
    return "".join(letters[phase] for phase in plan)


@pytest.mark.parametrize(
    ("epochs", "overparam", "sparsity", "expected"),
    [
        (4, None, None, "...."),
        (4, {"until": 0.5}, None, "oo.."),
        (4, {}, None, "oooo"),
        (4, None, {"target": 0.5, "stop": 0.5}, "ssdd"),
        (4, None, {"target": 0.5, "start": 0.25, "stop": 1.0}, ".sss"),
        (10, {"until": 0.35}, {"target": 0.5, "start": 0.5, "stop": 0.7}, "oooo.ssddd"),
        (3, {"until": 0.34}, {"target": 0.5, "start": 0.34, "stop": 0.67}, "osd"),
        (5, {}, {"target": 0.5, "start": 0.2, "stop": 0.6}, "oSSDD"),
        (5, {"until": 0.4}, {"target": 0.5, "start": 0.2, "stop": 0.6}, "oSsdd"),
    ],
)
def test_phases_follow_the_fractions(make_recipe, epochs, overparam, sparsity, expected):
    sections = {
        k: v for k, v in (("overparam", overparam), ("sparsity", sparsity)) if v is not None
    }
    assert short(phases(make_recipe(train={"epochs": epochs}, **sections))) == expected


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ({"overparam": {"until": 0.1}}, "overparam"),
        ({"sparsity": {"target": 0.5, "start": 0.1, "stop": 0.2}}, "sparsity"),
    ],
)
def test_a_phase_without_an_epoch_is_refused(make_recipe, sections, name):
    with pytest.raises(RecipeError, match=f"`{name}` gets no epoch"):
        phases(make_recipe(train={"epochs": 2}, **sections))


def test_milestones_are_the_epochs_before_sparsity_and_before_debias_and_the_last():
    plan = ["overparam", "dense", "sparse", "sparse", "debias"]
    assert [milestones(plan, epoch) for epoch in range(5)] == [
        [],
        ["before_sparse"],
        [],
        ["before_debias"],
        ["final"],
    ]
    together = ["overparam", "overparam-sparse", "overparam-debias", "debias"]
    assert [milestones(together, epoch) for epoch in range(4)] == [
        ["before_sparse"],
        ["before_debias"],
        [],
        ["final"],
    ]
    assert milestones(["sparse"], 0) == ["final"]


@given(st.integers(1, 200), st.floats(0, 0.99), st.floats(0.01, 1))
def test_the_schedule_gets_the_moments_at_which_epochs_begin(epochs, start, length):
    stop = min(1.0, start + length)
    section = SparsitySection(target=0.5, start=start, stop=stop)
    moved = whole_epochs(section, epochs)
    assert moved.start * epochs == pytest.approx(epoch_at(start, epochs))
    assert abs(moved.stop - stop) <= 0.5 / epochs + 1e-12


@given(st.integers(1, 1000), st.integers(0, 20))
def test_cosine_falls_from_one_towards_zero_after_its_warm_up(num_steps, warmup):
    train = TrainSection(warmup_steps=warmup)
    factors = [lr_factor(step, num_steps, train) for step in range(num_steps)]
    assert all(0.0 < factor <= 1.0 for factor in factors)
    after = factors[warmup:]
    assert after == sorted(after, reverse=True)
    if warmup:
        assert factors[0] == pytest.approx(1.0 / warmup, rel=1e-6)


def test_a_constant_rate_is_constant():
    assert {lr_factor(step, 9, TrainSection(lr_schedule="constant")) for step in range(9)} == {1.0}


def test_the_learning_rate_drops_behind_each_milestone():
    train = TrainSection(lr_schedule="steps", lr_milestones=(0.5, 0.75), lr_gamma=0.1)
    factors = [lr_factor(step, 200, train) for step in range(200)]
    assert factors == pytest.approx([1.0] * 100 + [0.1] * 50 + [0.01] * 50)
