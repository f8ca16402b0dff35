"""Binary masks against counts by hand."""

import numpy as np
import pytest
import torch

from compactmtl.errors import DataError
from compactmtl.multitask.binary import Binary


def by_hand(raw, target, pos_weight):
    """Return IoU, F1, accuracy and the loss, pixel by pixel."""
    tp = fp = fn = tn = 0
    losses = []
    for place in np.ndindex(*target.shape):
        truth, logit = float(target[place]), float(raw[place])
        if np.isnan(truth):
            continue
        tp += truth == 1 and logit > 0
        fp += truth == 0 and logit > 0
        fn += truth == 1 and logit <= 0
        tn += truth == 0 and logit <= 0
        share = 1 / (1 + np.exp(-logit))
        losses.append(-pos_weight * np.log(share) if truth == 1 else -np.log(1 - share))
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    f1 = 2 * precision * recall / (precision + recall)
    return tp / (tp + fp + fn), f1, (tp + tn) / (tp + fp + fn + tn), np.mean(losses)


def test_metrics_and_loss_equal_those_by_hand(draw):
    for seed in range(3):
        task, raw, target, _ = draw("binary", seed=seed)
        metric = task.metric()
        metric.update(raw, target)
        *expected, loss = by_hand(raw, target, 2.0)
        assert [float(v) for v in metric.compute().values()] == pytest.approx(expected, rel=1e-12)
        assert float(task.loss(raw, target)) == pytest.approx(loss, rel=1e-5)  # float32


def test_oracle_fails_on_a_planted_error(draw):
    task, raw, target, _ = draw("binary")
    metric = task.metric()
    metric.update(-raw, target)
    got = [float(v) for v in metric.compute().values()]
    assert got != pytest.approx(list(by_hand(raw, target, 2.0)[:3]), rel=1e-3)


def test_nothing_there_and_nothing_found_is_perfect():
    metric = Binary("mask").metric()
    metric.update(torch.full((1, 1, 2, 2), -1.0), torch.zeros(1, 1, 2, 2))
    assert {k: float(v) for k, v in metric.compute().items()} == {
        "iou": 1.0,
        "f1": 1.0,
        "accuracy": 1.0,
    }


def test_mask_of_255_is_refused(draw):
    task, raw, target, _ = draw("binary")
    for call in (task.loss, task.metric().update):
        with pytest.raises(DataError, match="value 255 in the target, expected 0, 1 or NaN"):
            call(raw, target * 255)


def test_picture_is_black_outside_the_mask():
    drawn = Binary("mask").picture(torch.tensor([[[0.0, 1.0]]]))
    assert drawn[0, 0].tolist() == [0, 0, 0]
    assert drawn[0, 1].max() > 150
