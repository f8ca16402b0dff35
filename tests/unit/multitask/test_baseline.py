"""The constant predictor."""

import pytest
import torch

from compactmtl.errors import DataError
from compactmtl.multitask import make_task
from compactmtl.multitask.baseline import constant_baseline


def test_baseline_of_known_targets():
    tasks = {
        "depth": make_task("depth", "depth", {}),
        "seg": make_task("seg", "segmentation", {"num_classes": 3}),
        "mask": make_task("mask", "binary", {}),
    }
    images = torch.zeros(1, 3, 1, 5)
    first = {
        "depth": torch.tensor([[[[1.0, 2, 3, 4, 0]]]]),
        "seg": torch.tensor([[[2, 2, 2, 0, -1]]]),
        "mask": torch.tensor([[[[1.0, 0, 0, 0, torch.nan]]]]),
    }
    second = {**first, "depth": torch.tensor([[[[2.0, 2, 2, 0, 0]]]])}
    got = constant_baseline(tasks, iter([(images, first), (images, second)]))
    # Depths 1 2 2 2 2 3 4: the median is 2, the errors add up to 1 + 1 + 2.
    assert got["depth"]["abs_err"] == pytest.approx(4 / 7)
    assert got["seg"] == {"miou": pytest.approx(0.75 / 2), "pixel_accuracy": pytest.approx(0.75)}
    # All ones has an IoU of 1/4, all zeros one of 0.
    assert got["mask"] == {
        "iou": pytest.approx(0.25),
        "f1": pytest.approx(0.4),
        "accuracy": pytest.approx(0.25),
    }


def test_all_zeros_is_best_where_no_mask_occurs():
    tasks = {"mask": make_task("mask", "binary", {})}
    got = constant_baseline(tasks, [(torch.zeros(1, 3, 1, 2), {"mask": torch.zeros(1, 1, 1, 2)})])
    assert got["mask"]["iou"] == 1.0


def test_no_batch_is_refused():
    with pytest.raises(DataError, match="no batch"):
        constant_baseline({"depth": make_task("depth", "depth", {})}, [])


def test_missing_target_is_refused():
    with pytest.raises(DataError, match="no target for task `depth`"):
        constant_baseline(
            {"depth": make_task("depth", "depth", {})}, [(torch.zeros(1, 3, 2, 2), {})]
        )
