"""Scores against brute force, on subjects whose predictions are made here."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import squares as things_and_maps
import torch
from PIL import Image

from compactmtl.errors import DataError, UsageError
from compactmtl.evaluation.pictures import draw_changes
from compactmtl.evaluation.score import score
from compactmtl.evaluation.subjects import Subject
from compactmtl.evaluation.table import class_rows, columns, metric_rows
from compactmtl.multitask import make_task
from compactmtl.multitask.evaluate import evaluate

NUM = 7
TASKS = {
    "seg": make_task("seg", "segmentation", {"num_classes": 3, "classes": ["a", "b", "c"]}),
    "depth": make_task("depth", "depth", {}),
}


class Squares:
    """Random images; sample 2 is not labelled for depth."""

    def __len__(self):
        return NUM

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = torch.rand(3, 8, 12, generator=generator)
        targets = {"seg": torch.randint(-1, 3, (8, 12), generator=generator)}
        if index != 2:
            targets["depth"] = torch.rand(1, 8, 12, generator=generator) + 0.5
        return image, targets


def predict(images):
    return {"seg": images.flip(1) * 2, "depth": images.mean(1, keepdim=True) + 0.5}


def subject(function):
    return Subject(path=Path("x.onnx"), which="", runtime="here", predict=function, sha256="0" * 64)


def worse_on(index, task, amount):
    """Predict as above, but for one sample's task."""
    marked = Squares()[index][0]

    def changed(images):
        outputs = predict(images)
        for row, image in enumerate(images):
            if torch.equal(image, marked):
                outputs[task][row] += amount
        return outputs

    return changed


def run(**others):
    subjects = {"base": subject(predict)} | {k: subject(v) for k, v in others.items()}
    return score(subjects, Squares(), TASKS, baseline="base", batch_size=3), subjects


def test_metrics_are_those_of_evaluate_whatever_the_batch_size():
    scores, _ = run()
    found = []
    for size in (1, 3, NUM):
        one = score({"a": subject(predict)}, Squares(), TASKS, baseline="a", batch_size=size)
        found.append(one.metrics["a"])
    from compactmtl.data.batch import loader

    batches = loader(Squares(), TASKS, batch_size=2, shuffle=False, generator=torch.Generator())
    wanted = evaluate(predict, batches, TASKS)
    for metrics in (*found, scores.metrics["base"]):
        for task in TASKS:
            assert metrics[task] == pytest.approx(wanted[task], rel=1e-12)


def test_classes_against_counting():
    scores, _ = run()
    images, labels = zip(
        *((image, t["seg"]) for image, t in map(Squares().__getitem__, range(NUM))), strict=True
    )
    predicted = predict(torch.stack(images))["seg"].argmax(1).numpy()
    truth = torch.stack(labels).numpy()
    for index, name in enumerate("abc"):
        hit = (predicted == index) & (truth == index)
        either = ((predicted == index) | (truth == index)) & (truth >= 0)
        assert scores.classes["base"]["seg"][name] == pytest.approx(hit.sum() / either.sum())
    assert "depth" not in scores.classes["base"]


@pytest.mark.parametrize(("index", "task"), [(0, "depth"), (5, "depth"), (4, "seg")])
def test_a_planted_change_is_found_and_is_the_only_one(index, task):
    amount = 0.7 if task == "depth" else torch.tensor([5.0, 0.0, 0.0]).view(3, 1, 1)
    scores, _ = run(other=worse_on(index, task, amount))
    first, *rest = scores.changed
    assert (first.index, first.task, first.subject) == (index, task, "other")
    assert all(each.change == 0 for each in rest)
    assert {each.index for each in scores.changed} == set(range(NUM))
    other = next(t for t in TASKS if t != task)
    assert scores.rel_rms["other"][other] == 0
    assert scores.rel_rms["other"][task] > 0.01


def test_an_unlabelled_sample_has_no_change_on_that_task():
    scores, _ = run(other=worse_on(2, "depth", 3.0))
    assert all(each.change == 0 for each in scores.changed)


def test_a_subject_may_lack_a_task_but_not_all():
    scores, _ = run(part=lambda images: {"seg": predict(images)["seg"]})
    assert set(scores.metrics["part"]) == {"seg"}
    rows = metric_rows(scores, ["base", "part"], "base")
    depth = next(row for row in rows if row[:2] == ["depth", "abs_err"])
    assert depth[3:] == ["-", "-"]
    assert all(len(row) == len(columns(["base", "part"], "base")) for row in rows)
    with pytest.raises(UsageError, match="none of them is a task"):
        run(other=lambda images: {"x": images})


def test_tables_state_the_difference_to_the_baseline():
    scores, _ = run(other=worse_on(0, "depth", 0.7))
    rows = {(row[0], row[1]): row for row in metric_rows(scores, ["base", "other"], "base")}
    base, other = (scores.metrics[n]["depth"]["abs_err"] for n in ("base", "other"))
    assert rows["depth", "abs_err"][2:] == [f"{base:.4g}", f"{other:.4g}", f"{other - base:+.2g}"]
    assert [row[1] for row in class_rows(scores, ["base", "other"], "base")] == ["a", "b", "c"]


def test_one_subject_alone_has_no_row_of_differences():
    scores, _ = run()
    rows = metric_rows(scores, ["base"], "base")
    assert all(len(row) == len(columns(["base"], "base")) and row[2] for row in rows)
    assert not any(row[1].startswith("raw outputs") for row in rows)


def test_limit_scores_the_first_images_only():
    one = score({"a": subject(predict)}, Squares(), TASKS, baseline="a", batch_size=3, limit=4)
    assert one.num_images == 4
    assert {each.index for each in one.changed} == set()


def test_an_empty_data_set_is_refused():
    class Empty(Squares):
        def __len__(self):
            return 0

    with pytest.raises(DataError, match="empty"):
        score({"a": subject(predict)}, Empty(), TASKS, baseline="a", batch_size=3)


def test_pictures_of_what_changed(tmp_path):
    scores, subjects = run(other=worse_on(4, "depth", 0.7))
    (tmp_path / "03-sample-1-seg.png").write_bytes(b"of an earlier evaluation")
    (path,) = draw_changes(
        scores.changed[:1], subjects, Squares(), TASKS, baseline="base", folder=tmp_path
    )
    assert [each.name for each in tmp_path.iterdir()] == ["01-sample-4-depth.png"]
    sheet = np.asarray(Image.open(path))
    columns_ = np.split(sheet[20:140], 4, axis=1)
    assert all(len(np.unique(each.reshape(-1, 3), axis=0)) > 3 for each in columns_)
    assert not np.array_equal(columns_[2], columns_[3])


@pytest.mark.skipif(
    importlib.util.find_spec("faster_coco_eval") is None, reason="the extra `coco` is not installed"
)
def test_things_found_are_scored_and_drawn_without_a_size_of_their_change(tmp_path):
    data, tasks = things_and_maps.Squares(3), things_and_maps.tasks()

    def right(images):
        (index,) = (i for i in range(3) if torch.equal(data[i][0], images[0]))
        true = data[index][1]
        things = {key: true["instances"][key] for key in ("boxes", "labels", "masks")}
        return {
            "instances": [{**things, "scores": torch.ones(len(things["labels"]))}],
            "panoptic": true["panoptic"][None, None],
        }

    def blind(images):
        outputs = right(images)
        (things,) = outputs["instances"]
        return {
            "instances": [{key: value[:0] for key, value in things.items()}],
            "panoptic": torch.full_like(outputs["panoptic"], -1),
        }

    subjects = {"right": subject(right), "blind": subject(blind)}
    found = score(subjects, data, tasks, baseline="right", batch_size=1)
    assert found.metrics["right"]["instances"]["mask_ap"] == 1.0
    assert found.metrics["blind"]["instances"]["mask_ap"] == 0.0
    assert found.metrics["blind"]["panoptic"]["pq"] == 0.0
    assert "instances" not in found.rel_rms["blind"]
    assert "panoptic" not in found.rel_rms["blind"]
    paths = draw_changes(
        found.changed, subjects, data, tasks, baseline="right", folder=tmp_path / "changed"
    )
    assert len(paths) == 3
