"""Regression against sums by hand."""

import numpy as np
import pytest
import torch

from compactmtl.multitask.regression import Regression


def by_hand(raw, target):
    """Return mean absolute and root mean squared error, value by value."""
    errors = []
    for n, y, x in np.ndindex(raw.shape[0], *raw.shape[2:]):
        truth = target[n, :, y, x].double().numpy()
        if np.isfinite(truth).all():
            errors += list(raw[n, :, y, x].double().numpy() - truth)
    return np.mean(np.abs(errors)), np.sqrt(np.mean(np.square(errors)))


@pytest.mark.parametrize("name", ["regression-1", "regression-2", "regression-3"])
def test_metrics_and_loss_equal_those_by_hand(draw, name):
    task, raw, target, _ = draw(name)
    metric = task.metric()
    metric.update(raw, target)
    mae, rmse = by_hand(raw, target)
    got = metric.compute()
    assert float(got["mae"]) == pytest.approx(mae, rel=1e-12)
    assert float(got["rmse"]) == pytest.approx(rmse, rel=1e-12)
    assert float(task.loss(raw, target)) == pytest.approx(mae, rel=1e-5)  # float32


def test_oracle_fails_on_a_planted_error(draw):
    task, raw, target, _ = draw("regression-2")
    metric = task.metric()
    metric.update(raw.flip(1), target)
    assert [float(v) for v in metric.compute().values()] != pytest.approx(
        list(by_hand(raw, target)), rel=1e-3
    )


def test_pixel_with_one_channel_missing_is_invalid_in_all():
    task = Regression("flow", num_channels=2)
    target = torch.zeros(1, 2, 1, 2)
    target[0, 0, 0, 0] = torch.nan
    raw = torch.ones(1, 2, 1, 2, requires_grad=True)
    task.loss(raw, target).backward()
    assert raw.grad[0, :, 0].tolist() == [[0.0, 0.5], [0.0, 0.5]]


def test_opposite_directions_have_opposite_hues_and_zero_is_white():
    task = Regression("flow", num_channels=2)
    drawn = task.picture(torch.tensor([[[1.0, -1.0, 0.0]], [[0.0, 0.0, 0.0]]]))[0].astype(int)
    assert drawn[0].tolist() == [255, 0, 0]
    assert drawn[1].tolist() == [0, 255, 255]
    assert drawn[2].tolist() == [255, 255, 255]
