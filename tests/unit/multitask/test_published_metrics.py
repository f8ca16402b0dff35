"""Metrics and losses of published codes, where a task asks for them."""

import pytest
import torch
import torch.nn.functional as F

from compactmtl.errors import RecipeError
from compactmtl.multitask import make_task, task_from_spec

ARGS = {"num_classes": 4, "image_iou": True, "label_smoothing": 0.1}


@pytest.fixture
def pixels():
    torch.manual_seed(0)
    target = torch.randint(-1, 4, (3, 5, 6))
    target[2] = -1  # an image without a label
    return torch.randn(3, 4, 5, 6), target


def test_image_iou_is_the_mean_over_images_of_hits_over_the_union(pixels):
    raw, target = pixels
    task = make_task("seg", "segmentation", ARGS)
    expected = []
    for guess, truth in zip(raw.argmax(1)[:2], target[:2], strict=True):
        valid = truth >= 0
        hits = int((guess[valid] == truth[valid]).sum())
        union = sum(int(((guess == c) | (truth == c))[valid].sum()) for c in range(4))
        expected.append(hits / union)
    metric = task.metric()
    for index in range(3):  # the size of batches does not matter
        metric.update(raw[index : index + 1], target[index : index + 1])
    assert float(metric.compute()["image_iou"]) == pytest.approx(sum(expected) / 2)
    assert "image_iou" not in make_task("seg", "segmentation", {"num_classes": 4}).metric().result()


def test_label_smoothing_spreads_a_share_over_all_classes(pixels):
    raw, target = pixels
    logs, valid = F.log_softmax(raw.double(), 1), target >= 0
    own = -logs.gather(1, target.clamp(min=0)[:, None])[:, 0][valid].mean()
    every = -logs.mean(1)[valid].mean()
    got = make_task("seg", "segmentation", ARGS).loss(raw, target)
    assert float(got) == pytest.approx(float(0.9 * own + 0.1 * every), rel=1e-5)
    with pytest.raises(RecipeError, match=r"label_smoothing \(=1.0\)"):
        make_task("seg", "segmentation", ARGS | {"label_smoothing": 1.0})


def test_cosine_is_the_mean_over_valid_pixels():
    torch.manual_seed(0)
    raw, target = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    target[:, :, 0] = 0
    metric = make_task("normals", "normals", {"cosine": True}).metric()
    metric.update(raw, target)
    expected = F.cosine_similarity(raw.double(), target.double(), dim=1)[:, 1:].mean()
    assert float(metric.compute()["cosine"]) == pytest.approx(float(expected))


def test_scaled_mae_is_in_units_of_each_images_greatest_depth():
    torch.manual_seed(0)
    raw, target = torch.rand(2, 1, 4, 5), 1 + 9 * torch.rand(2, 1, 4, 5)
    target[:, :, 0] = 0
    metric = make_task("depth", "depth", {"scaled": True}).metric()
    metric.update(raw, target)
    errors = [(raw[i, 0, 1:] - target[i, 0, 1:]).abs() / target[i].max() for i in range(2)]
    assert float(metric.compute()["scaled_mae"]) == pytest.approx(float(torch.stack(errors).mean()))


OWN = {"segmentation": ARGS, "normals": {"cosine": True}, "depth": {"scaled": True}}


@pytest.mark.parametrize(("kind", "args"), OWN.items())
def test_a_spec_brings_them_back_and_stays_as_it_was_without(kind, args):
    task = make_task("t", kind, args)
    again = task_from_spec("t", task.spec())
    assert again.spec() == task.spec()
    assert all(
        getattr(again, name) == value for name, value in args.items() if name != "num_classes"
    )
    plain = make_task("t", kind, {k: v for k, v in args.items() if k == "num_classes"})
    assert set(plain.spec()) <= {"kind", "num_channels", "num_classes", "classes", "value_range"}
