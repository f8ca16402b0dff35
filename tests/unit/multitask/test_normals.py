"""Normals against angles by hand."""

import numpy as np
import pytest
import torch

from compactmtl.multitask.normals import BIN_DEG, Normals


def angles_by_hand(raw, target):
    """Return the angle of every valid pixel in degrees."""
    angles = []
    for n, y, x in np.ndindex(raw.shape[0], *raw.shape[2:]):
        truth = target[n, :, y, x].double().numpy()
        guess = raw[n, :, y, x].double().numpy()
        if np.linalg.norm(truth) == 0:
            continue
        cosine = guess @ truth / np.linalg.norm(guess) / np.linalg.norm(truth)
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return np.array(angles)


def compare(got, angles):
    median = np.sort(angles)[(len(angles) - 1) // 2]
    assert float(got["mean_angle"]) == pytest.approx(angles.mean(), rel=1e-9)
    assert abs(float(got["median_angle"]) - median) <= BIN_DEG / 2 + 1e-9
    for name, limit in (("within_11_25", 11.25), ("within_22_5", 22.5), ("within_30", 30)):
        assert float(got[name]) == pytest.approx((angles < limit).mean(), rel=1e-12)


def near(draw, seed):
    """Return a task, outputs within some tens of degrees of the target, and the target."""
    task, raw, target, _ = draw("normals", seed=seed)
    return task, 3 * (target + 0.3 * raw), target


def test_metrics_and_loss_equal_those_by_hand(draw):
    for seed in range(3):
        task, raw, target = near(draw, seed)
        metric = task.metric()
        metric.update(raw, target)
        angles = angles_by_hand(raw, target)
        assert 0.1 < (angles < 22.5).mean() < 0.9
        compare(metric.compute(), angles)
        cosine = np.cos(np.radians(angles)).mean()
        assert float(task.loss(raw, target)) == pytest.approx(1 - cosine, rel=1e-4)  # float32


def test_oracle_fails_on_a_planted_error(draw):
    task, raw, target = near(draw, 0)
    metric = task.metric()
    metric.update(raw * torch.tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1), target)
    with pytest.raises(AssertionError):
        compare(metric.compute(), angles_by_hand(raw, target))


def test_limits_are_strict():
    # An angle of exactly 90 degrees and one of 0: with limits met exactly, "within" must not count.
    task = Normals("normals")
    metric = task.metric()
    metric._limits = (90.0, 0.0, 180.0)
    target = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 1, 2)
    raw = torch.tensor([[0.0, 1, 0], [1, 0, 0]]).T.reshape(1, 3, 1, 2)
    metric.update(raw, target)
    got = metric.compute()
    assert [float(got[k]) for k in ("within_11_25", "within_22_5", "within_30")] == [0.5, 0.0, 1.0]


def test_length_of_output_and_target_does_not_matter(draw):
    task, raw, target = near(draw, 1)
    first, second = task.metric(), task.metric()
    first.update(raw, target)
    second.update(raw * 8, target * 0.25)  # powers of two: exact
    assert float(first.compute()["mean_angle"]) == float(second.compute()["mean_angle"])
    torch.testing.assert_close(task.loss(raw, target), task.loss(raw * 8, target / 4))


def test_output_of_zero_has_a_right_angle_and_a_finite_gradient():
    task = Normals("normals")
    target = torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1)
    raw = torch.zeros(1, 3, 1, 1, requires_grad=True)
    task.loss(raw, target).backward()
    assert raw.grad.isfinite().all()
    metric = task.metric()
    metric.update(raw.detach(), target)
    assert float(metric.compute()["mean_angle"]) == pytest.approx(90)


def test_extreme_angles_stay_in_the_histogram():
    task = Normals("normals")
    target = torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1)
    for raw, angle in ((target, 0.0), (-target, 180.0)):
        metric = task.metric()
        metric.update(raw, target)
        assert float(metric.compute()["median_angle"]) == pytest.approx(angle, abs=BIN_DEG / 2)


def test_constant_finds_the_majority_among_opposed_walls():
    # 60 % look one way, 30 % the opposite way, 10 % aside: the mean direction is tilted by 18
    # degrees, the direction of least mean angle is the majority's own.
    task = Normals("normals")
    walls = torch.tensor([[1.0, 0, 0]] * 60 + [[-1.0, 0, 0]] * 30 + [[0, 1.0, 0]] * 10)
    (constant,) = task.constants(walls.T.reshape(1, 3, 10, 10))
    torch.testing.assert_close(constant, torch.tensor([1.0, 0, 0]), rtol=0, atol=1e-3)
