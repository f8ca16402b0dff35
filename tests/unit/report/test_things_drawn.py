"""Networks that find things, on the page: drawn, and without a legend that would mean nothing."""

import squares
import torch

from compactmtl.multitask import make_task
from compactmtl.report.predictions import _differences, _draw, _facts


def tasks():
    classes = {"num_classes": 1, "classes": ("square",)}
    return {**squares.tasks(), "instances": make_task("instances", "instances", classes)}


def test_only_what_has_a_colour_per_class_has_a_legend():
    legends = {name: facts.legend for name, facts in _facts(tasks()).items()}
    assert legends["instances"] == legends["panoptic"] == ()
    assert [name for name, _ in legends["semantic"]] == ["square", "ground"]


def test_things_maps_and_classes_are_drawn():
    _, targets = squares.Squares(1, empty_first=False)[0]
    found = {name: targets["instances"][name] for name in ("boxes", "labels", "masks")}
    raw = {
        "instances": [{**found, "scores": torch.full((len(found["labels"]),), 0.9)}],
        "semantic": torch.nn.functional.one_hot(targets["semantic"], 2).movedim(-1, 0)[None] * 1.0,
        "panoptic": targets["panoptic"][None, None],
    }
    drawn = _draw(tasks(), {"dense": raw, "compact": raw}, 0)
    for name, pictures in drawn.items():
        truth = tasks()[name].picture(targets[name])
        assert (pictures["compact"] == truth).all(), name
        assert (truth != truth[0, 0]).any(), name
    assert _differences({"dense": raw, "compact": raw}, tasks()) == {"semantic": 0.0}
