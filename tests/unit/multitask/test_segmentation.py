"""Segmentation against a count by hand."""

import numpy as np
import pytest
import torch

from compactmtl.errors import DataError
from compactmtl.multitask.segmentation import Segmentation


def by_hand(raw, target, num_classes):
    """Return mIoU and pixel accuracy from sets of pixels, and the loss from the definition."""
    found, right, losses = {}, 0, []
    truths = {c: set() for c in range(num_classes)}
    found = {c: set() for c in range(num_classes)}
    for place in np.ndindex(*target.shape):
        label = int(target[place])
        if label < 0:
            continue
        logits = raw[place[0], :, place[1], place[2]].double().numpy()
        guess = max(range(num_classes), key=lambda c: logits[c])
        truths[label].add(place)
        found[guess].add(place)
        right += guess == label
        losses.append(np.log(np.exp(logits).sum()) - logits[label])
    ious = [len(truths[c] & found[c]) / len(u) for c in truths if (u := truths[c] | found[c])]
    return np.mean(ious), right / len(losses), np.mean(losses)


def test_metrics_and_loss_equal_those_by_hand(draw):
    for seed in range(3):
        task, raw, target, _ = draw("segmentation", seed=seed)
        metric = task.metric()
        metric.update(raw, target)
        miou, accuracy, loss = by_hand(raw, target, 5)
        got = metric.compute()
        assert float(got["miou"]) == pytest.approx(miou, rel=1e-12)
        assert float(got["pixel_accuracy"]) == pytest.approx(accuracy, rel=1e-12)
        assert float(task.loss(raw, target)) == pytest.approx(loss, rel=1e-5)  # float32


def test_oracle_fails_on_a_planted_error(draw):
    task, raw, target, _ = draw("segmentation")
    metric = task.metric()
    metric.update(raw, target.roll(1, dims=-1))
    assert float(metric.compute()["miou"]) != pytest.approx(by_hand(raw, target, 5)[0], rel=1e-3)


def test_class_absent_from_target_and_prediction_does_not_count():
    task = Segmentation("seg", num_classes=4)
    target = torch.tensor([[[0, 0], [1, 1]]])
    raw = torch.nn.functional.one_hot(torch.tensor([[[0, 0], [0, 1]]]), 4).movedim(-1, 1).float()
    metric = task.metric()
    metric.update(raw, target)
    assert float(metric.compute()["miou"]) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_class_only_predicted_counts_as_zero():
    task = Segmentation("seg", num_classes=4)
    target = torch.tensor([[[0, 0], [1, 1]]])
    raw = torch.nn.functional.one_hot(torch.tensor([[[0, 0], [1, 3]]]), 4).movedim(-1, 1).float()
    metric = task.metric()
    metric.update(raw, target)
    assert float(metric.compute()["miou"]) == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_label_beyond_the_classes_is_refused(draw):
    task, raw, target, _ = draw("segmentation")
    target[0, 0, 0] = 255
    for call in (task.loss, task.metric().update):
        with pytest.raises(DataError, match="label 255 in the target, expected at most 4"):
            call(raw, target)


def test_any_negative_label_is_invalid(draw):
    task, raw, target, _ = draw("segmentation")
    assert torch.equal(task.loss(raw, target), task.loss(raw, target.where(target >= 0, -100)))


def test_constant_is_the_most_frequent_class():
    task = Segmentation("seg", num_classes=3)
    (constant,) = task.constants(torch.tensor([[[2, 2, 2, -1, -1, -1, -1, 0, 1]]]))
    assert constant.argmax() == 2
