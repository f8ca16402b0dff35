"""The check at the end of a run."""

import math

import pytest

from compactmtl.errors import TrainingError
from compactmtl.recipe import CheckSection
from compactmtl.training.verdict import check_result, raise_if_missed

BASELINE = {"seg": {"miou": 0.1}, "depth": {"abs_err": 1.0}}


def verdict(tasks, check, final, sparsity=None, **earlier):
    metrics = {"baseline": BASELINE, "milestones": {**earlier, "final": final}}
    return check_result(CheckSection(**check), tasks, metrics, sparsity)


def test_a_run_passes_just_at_the_margin(tasks):
    good = {"seg": {"miou": 0.28}, "depth": {"abs_err": 0.8}}  # 0.72 = 0.8 * 0.9
    result = verdict(tasks, {"margin": 0.2}, good)
    assert result["passed"]
    assert result["missed"] == []
    assert result["tasks"]["final"]["depth"] == {"error": 0.8, "limit": 0.8}
    raise_if_missed(result)
    raise_if_missed(None)


@pytest.mark.parametrize(
    ("final", "words"),
    [
        ({"seg": {"miou": 0.27}, "depth": {"abs_err": 0.5}}, ["`seg`", "0.73", "0.72", "0.9"]),
        ({"seg": {"miou": 0.9}, "depth": {"abs_err": 0.9}}, ["`depth`", "abs_err is 0.9", "0.8"]),
        ({"seg": {"miou": math.nan}, "depth": {"abs_err": 0.1}}, ["`seg`", "nan"]),
    ],
)
def test_a_miss_says_which_task_by_how_much(tasks, final, words):
    result = verdict(tasks, {"margin": 0.2}, final)
    with pytest.raises(TrainingError) as caught:
        raise_if_missed(result)
    for word in words:
        assert word in str(caught.value)


def test_every_milestone_counts(tasks):
    good = {"seg": {"miou": 0.9}, "depth": {"abs_err": 0.1}}
    bad = {"seg": {"miou": 0.1}, "depth": {"abs_err": 0.1}}
    result = verdict(tasks, {"margin": 0.2}, good, before_sparse=bad)
    assert len(result["missed"]) == 1
    assert "before the sparse phase" in result["missed"][0]


@pytest.mark.parametrize(("zero", "passed"), [(49, False), (50, True), (51, True)])
def test_zero_groups_count(tasks, zero, passed):
    good = {"seg": {"miou": 0.9}, "depth": {"abs_err": 0.1}}
    counts = {"zero_groups": zero, "num_groups": 100}
    assert verdict(tasks, {"zero_groups": 0.5}, good, counts)["passed"] is passed
    assert verdict(tasks, {"zero_groups": 0.5}, good, None)["passed"] is False
