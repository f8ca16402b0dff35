"""Instances: COCO's AP of known detections, and targets of every wrong form."""

import importlib.util

import numpy as np
import pytest
import torch

from compactmtl.errors import DataError, MissingExtraError, NonFiniteError, RecipeError, UsageError
from compactmtl.multitask import make_task, task_from_spec
from compactmtl.multitask.baseline import constant_baseline
from compactmtl.multitask.evaluate import evaluate
from compactmtl.multitask.instances import boxes_of, things

coco = pytest.mark.skipif(
    importlib.util.find_spec("faster_coco_eval") is None, reason="the extra `coco` is not installed"
)
SIDE = 40


def rectangles(*corners):
    masks = torch.zeros(len(corners), SIDE, SIDE, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def true(*corners, labels=None, crowd=None):
    masks = rectangles(*corners)
    labels = torch.tensor(labels or [0] * len(corners))
    crowd = None if crowd is None else torch.tensor(crowd)
    return things(boxes_of(masks), labels, masks, crowd=crowd)


def found(*corners, scores, labels=None):
    masks = rectangles(*corners)
    labels = torch.tensor(labels or [0] * len(corners))
    return {
        "boxes": boxes_of(masks),
        "labels": labels,
        "masks": masks,
        "scores": torch.tensor(scores),
    }


def task(**args):
    return make_task("things", "instances", {"num_classes": 2, **args})


def scored(*pairs, step=1, **args):
    metric = task(**args).metric()
    for start in range(0, len(pairs), step):
        some = pairs[start : start + step]
        metric.update([f for f, _ in some], [t for _, t in some])
    return {name: float(value) for name, value in metric.compute().items()}


A, B, C = (2, 2, 12, 12), (20, 4, 30, 18), (5, 25, 25, 35)


@coco
def test_perfect_detections_have_all_of_the_precision():
    got = scored((found(A, B, scores=[0.9, 0.8], labels=[0, 1]), true(A, B, labels=[0, 1])))
    assert got == dict.fromkeys(
        ("mask_ap", "mask_ap50", "mask_ap75", "box_ap", "box_ap50", "box_ap75"), 1.0
    )


@coco
def test_half_of_the_things_found_reach_half_of_the_recall_levels():
    # Precision is 1 at the recall levels 0, 0.01 ... 0.5: 51 of 101.
    assert scored((found(A, scores=[0.9]), true(A, B)))["mask_ap"] == pytest.approx(51 / 101)
    # A wrong one that ranks higher halves the precision at each of these levels.
    wrong = found(C, A, scores=[0.95, 0.9])
    assert scored((wrong, true(A, B)))["mask_ap50"] == pytest.approx(0.5 * 51 / 101)


@coco
def test_an_overlap_counts_up_to_its_own_threshold():
    # 10 x 10 against 10 x 8: an IoU of 0.8 passes the thresholds 0.5, 0.55 ... 0.75 and 0.8.
    got = scored((found((2, 2, 12, 10), scores=[0.9]), true(A)))
    assert got["mask_ap"] == pytest.approx(7 / 10)
    assert got["mask_ap75"] == 1.0
    oracle = scored((found((2, 2, 12, 9), scores=[0.9]), true(A)))  # 0.7 does not reach 75
    assert (oracle["mask_ap75"], oracle["box_ap75"]) == (0.0, 0.0)


@coco
def test_boxes_and_masks_are_scored_apart():
    triangle = found(A, scores=[0.9])
    triangle["masks"] &= torch.ones(SIDE, SIDE).tril().bool()  # just above half of the square
    got = scored((triangle, true(A)))
    assert (got["box_ap"], got["mask_ap75"]) == (1.0, 0.0)


@coco
def test_what_is_found_in_a_crowd_does_not_count():
    crowd = true(A, C, crowd=[False, True])
    got = scored((found(A, (6, 26, 12, 34), scores=[0.5, 0.9]), crowd))
    assert got["mask_ap"] == pytest.approx(1.0)
    alone = scored((found(A, (6, 26, 12, 34), scores=[0.5, 0.9]), true(A)))
    assert alone["mask_ap"] == pytest.approx(0.5)  # without the crowd it is wrong


@coco
def test_neither_batches_nor_unlabelled_images_matter():
    pairs = [
        (found(A, C, scores=[0.9, 0.3]), true(A, B)),
        (found(B, scores=[0.6], labels=[1]), true(B, labels=[1])),
        (found(C, scores=[0.95]), true()),
    ]
    whole = scored(*pairs, step=3)
    assert scored(*pairs) == pytest.approx(whole, abs=1e-12)
    unlabelled = (found(C, scores=[0.99]), task().missing(SIDE, SIDE))
    assert scored(*pairs, unlabelled) == pytest.approx(whole, abs=1e-12)
    assert scored(*pairs[:2]) != pytest.approx(whole, abs=1e-3)  # a labelled empty image does


@coco
def test_more_detections_count_where_that_is_asked_for():
    corners = [(x, y, x + 2, y + 2) for x in range(0, 39, 3) for y in range(0, 39, 3)]
    many = found(*corners, scores=torch.linspace(1, 0.5, len(corners)).tolist())
    assert len(corners) == 169
    got = scored((many, true(*corners)))
    assert got["mask_ap"] == pytest.approx(60 / 101)  # levels up to 100/169
    assert scored((many, true(*corners)), max_detections=200)["mask_ap"] == pytest.approx(1)


@coco
def test_wrong_results_are_refused():
    metric = task().metric()
    with pytest.raises(DataError, match="results for 1 images, expected 2"):
        metric.update([found(A, scores=[0.5])], [true(A), true(A)])
    with pytest.raises(NonFiniteError, match="`scores` of image 0"):
        metric.update([found(A, scores=[float("nan")])], [true(A)])
    small = found(A, scores=[0.5])
    small["masks"] = small["masks"][:, :20]
    with pytest.raises(DataError, match=r"are \(20, 40\), expected \(40, 40\)"):
        metric.update([small], [true(A)])
    with pytest.raises(DataError, match="not one thing in what was evaluated"):
        scored((found(A, scores=[0.5]), true()))


@coco
def test_evaluation_and_baseline_take_lists():
    batches = [(torch.zeros(1, 3, SIDE, SIDE), {"things": [true(A)]})]
    result = evaluate(
        lambda images: {"things": [found(A, scores=[0.9])]}, batches, {"things": task()}
    )
    assert result["things"]["mask_ap"] == 1.0
    assert constant_baseline({"things": task()}, batches)["things"]["mask_ap"] == 0.0


def test_without_the_extra_the_metric_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match="faster-coco-eval, which is not installed"
    ) as caught:
        task().floor()
    assert "compactmtl[coco]" in caught.value.hint


def wrong_targets():
    yield "not a dict", torch.zeros(3), "has Tensor, expected a dict of boxes, labels"
    for key, value, message in (
        ("boxes", torch.zeros(1, 5), r"`boxes` is torch.float32 \(1, 5\), expected .* \(1, 4\)"),
        ("labels", torch.tensor([2]), "label 2, expected 0 to 1"),
        ("labels", torch.tensor([-1]), "label -1, expected 0 to 1"),
        ("masks", torch.zeros(1, SIDE, 3).bool(), "`masks` is torch.bool"),
        ("masks", torch.zeros(1, SIDE, SIDE), "`masks` is torch.float32"),
        ("boxes", torch.tensor([[3.0, 3, 3, 9]]), r"box 0 is \[3.0, 3.0, 3.0, 9.0\]"),
        ("boxes", torch.full((1, 4), torch.nan), "box 0 is"),
        ("labelled", torch.tensor([True]), r"`labelled` is torch.bool \(1,\)"),
    ):
        yield key, {**true(A), key: value}, message


@pytest.mark.parametrize(("case", "target", "message"), list(wrong_targets()))
def test_a_target_of_another_form_is_refused(case, target, message):
    one = task()
    one.check_target(true(A), one.missing(SIDE, SIDE), "here")
    with pytest.raises(DataError, match=f"^here.*{message}"):
        one.check_target(target, one.missing(SIDE, SIDE), "here")


def test_loss_is_the_sum_of_what_the_network_computed():
    losses = {"boxes": torch.tensor(0.5), "masks": torch.tensor(0.25)}
    assert float(task().loss(losses, [])) == 0.75
    with pytest.raises(UsageError, match="yields a list in training"):
        task().loss([], [])


def test_valid_are_images_with_something_to_find():
    one = task()
    batch = one.stack([true(A), true(), one.missing(SIDE, SIDE), true(C, crowd=[True])])
    assert one.valid(batch).tolist() == [True, False, False, False]


def test_prediction_picture_and_spec():
    one = task(classes=("round", "long"), max_detections=50)
    (predicted,) = one.predict([found(A, B, scores=[0.9, 0.2])])
    one.check_target(predicted, one.missing(SIDE, SIDE), "prediction")
    assert predicted["boxes"].tolist() == [[2, 2, 12, 12]]
    drawn = one.picture(true(A, B, C, crowd=[False, False, True]))
    assert drawn.shape == (SIDE, SIDE, 3)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 4
    assert task_from_spec("things", one.spec()).spec() == one.spec()


@pytest.mark.parametrize(
    "args", [{"num_classes": 0}, {"classes": ("one",)}, {"max_detections": 10}]
)
def test_wrong_arguments_are_refused(args):
    with pytest.raises(RecipeError, match="`things`"):
        task(**args)
