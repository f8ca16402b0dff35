"""Depth against sums by hand."""

import numpy as np
import pytest
import torch

from compactmtl.multitask.depth import Depth


def by_hand(raw, target):
    """Return absolute and relative error, pixel by pixel."""
    absolute, relative, num = 0.0, 0.0, 0
    for place in np.ndindex(*target.shape):
        truth, guess = float(target[place]), float(raw[place])
        if not np.isfinite(truth) or truth <= 0:
            continue
        absolute += abs(guess - truth)
        relative += abs(guess - truth) / truth
        num += 1
    return absolute / num, relative / num


def test_metrics_and_loss_equal_those_by_hand(draw):
    for seed in range(3):
        task, raw, target, _ = draw("depth", seed=seed)
        metric = task.metric()
        metric.update(raw, target)
        absolute, relative = by_hand(raw, target)
        got = metric.compute()
        assert float(got["abs_err"]) == pytest.approx(absolute, rel=1e-12)
        assert float(got["rel_err"]) == pytest.approx(relative, rel=1e-12)
        assert float(task.loss(raw, target)) == pytest.approx(absolute, rel=1e-5)  # float32


def test_oracle_fails_on_a_planted_error(draw):
    task, raw, target, _ = draw("depth")
    metric = task.metric()
    metric.update(raw * 1.001, target)
    absolute, relative = by_hand(raw, target)
    assert float(metric.compute()["abs_err"]) != pytest.approx(absolute, rel=1e-6)
    assert float(metric.compute()["rel_err"]) != pytest.approx(relative, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), float("-inf")])
def test_depth_that_cannot_be_is_invalid(value):
    task = Depth("depth")
    target = torch.full((1, 1, 2, 2), 3.0)
    target[0, 0, 0, 0] = value
    raw = torch.full((1, 1, 2, 2), 5.0, requires_grad=True)
    loss = task.loss(raw, target)
    loss.backward()
    assert loss.item() == 2.0
    assert raw.grad.flatten().tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])


def test_picture_is_red_near_and_blue_far():
    drawn = Depth("depth", value_range=(1.0, 3.0)).picture(torch.tensor([[[1.2, 2.8]]]))
    near, far = drawn[0].astype(int)
    assert near[0] > near[2]
    assert far[2] > far[0]
