import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.errors import UsageError
from compactmtl.multitask import KINDS
from compactmtl.multitask.delta import HIGHER_IS_BETTER, relative_gain
from compactmtl.study.paired import cell, difference

values = st.dictionaries(st.integers(0, 9), st.floats(-10, 10), min_size=1)


@given(one=values, other=values, higher=st.booleans())
def test_differences_are_those_of_brute_force_and_turn_round(one, other, higher):
    found = difference(one, other, higher_is_better=higher)
    shared = sorted(one.keys() & other.keys())
    if not shared:
        assert found is None
        return
    pairs = [one[s] - other[s] for s in shared]
    assert found.n == len(pairs)
    assert found.mean == pytest.approx(statistics.fmean(pairs), abs=1e-12)
    if len(pairs) > 1:
        assert found.se == pytest.approx(statistics.stdev(pairs) / math.sqrt(len(pairs)))
    back = difference(other, one, higher_is_better=higher)
    turned = {"better": "worse", "worse": "better"}
    assert back.verdict == turned.get(found.verdict, found.verdict)


def test_one_pair_shows_nothing_however_large():
    assert difference({0: 100.0}, {0: 0.0}, higher_is_better=True).verdict == "no difference shown"


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_difference_is_claimed_about_as_often_as_stated_where_there_is_none(n):
    """Of 4,000 comparisons of equal systems 5 % are claimed; 4 standard errors are allowed."""
    draw = random.Random(0)
    claims = sum(
        difference(
            {i: draw.gauss(0, 1) for i in range(n)},
            {i: draw.gauss(0, 1) for i in range(n)},
            higher_is_better=True,
        ).verdict
        != "no difference shown"
        for _ in range(4000)
    )
    assert abs(claims / 4000 - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 4000)


def test_a_difference_is_seen_where_there_is_one():
    base = {i: 0.1 * i for i in range(5)}
    better = {i: value + 1 + 0.01 * i for i, value in base.items()}
    assert difference(better, base, higher_is_better=True).verdict == "better"
    assert difference(better, base, higher_is_better=False).verdict == "worse"
    assert difference(better, base, higher_is_better=None).verdict == "differs"


def test_spread_of_one_value_is_not_zero_but_unknown():
    assert cell([1.0]).std is None
    assert cell([1.0, 3.0]).std == pytest.approx(math.sqrt(2))


def test_delta_m_is_the_mean_of_means_with_signs():
    base = {"seg": {"miou": 0.4, "pixel_accuracy": 0.5}, "depth": {"abs_err": 0.5}}
    ours = {"seg": {"miou": 0.5, "pixel_accuracy": 0.5}, "depth": {"abs_err": 0.4}}
    assert relative_gain(ours, base) == pytest.approx(((0.25 + 0) / 2 + 0.2) / 2)
    assert relative_gain(base, base) == 0


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ({"seg": {"miou": 0.0}}, "is 0"),
        ({"seg": {"other": 1.0}}, "same tasks and metrics"),
        ({"depth": {"miou": 1.0}}, "same tasks and metrics"),
    ],
)
def test_delta_m_refuses_what_cannot_be_compared(base, message):
    with pytest.raises(UsageError, match=message):
        relative_gain({"seg": {"miou": 0.5}}, base)
    with pytest.raises(UsageError, match="not known"):
        relative_gain({"x": {"own": 1.0}}, {"x": {"own": 2.0}})


def test_directions_agree_with_the_tasks():
    for kind in KINDS.values():
        assert HIGHER_IS_BETTER[kind.primary] == kind.higher_is_better
