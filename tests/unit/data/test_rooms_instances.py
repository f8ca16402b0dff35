"""Rendered rooms thing by thing: masks, maps and classes of one scene agree with each other."""

import pytest
import torch

from compactmtl.data.rooms import Rooms
from compactmtl.data.rooms_geometry import CLASS_NAMES, RoomClass
from compactmtl.data.rooms_instances import LEAST, NUMBERS, STUFF, THINGS, RoomsInstances
from compactmtl.multitask.segments import CROWD, class_of

SIZE = {"num_images": 4, "height": 60, "width": 80}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    cache = tmp_path_factory.mktemp("rooms")
    return Rooms("val", cache=cache, **SIZE), RoomsInstances("val", cache=cache, **SIZE)


def disagreement(classes, targets):
    """Return at how many pixels the targets contradict the classes of the same scene."""
    things, panoptic = targets["instances"], targets["panoptic"]
    its_class = torch.where(panoptic <= CROWD, CROWD - panoptic, class_of(panoptic))
    wrong = int((its_class != NUMBERS[classes]).sum())
    is_thing = torch.tensor([RoomClass(c) not in STUFF for c in range(len(CLASS_NAMES))])[classes]
    wrong += int(((targets["semantic"] == 0) != is_thing).sum())
    wrong += int((things["masks"].sum(0) != is_thing.long()).sum())  # each pixel in one mask
    for mask, label in zip(things["masks"], things["labels"], strict=True):
        wrong += int((NUMBERS[classes][mask] != label).sum())
    return wrong


def test_things_maps_and_classes_agree(pair):
    plain, things = pair
    assert len(plain) == len(things) == 1
    for index in range(len(things)):
        image, targets = things[index]
        assert torch.equal(image, plain[index][0])
        classes = plain[index][1]["seg"]
        assert disagreement(classes, targets) == 0
        moved = {**targets, "panoptic": targets["panoptic"].roll(1, dims=1)}
        assert disagreement(classes, moved) > 0  # the oracle sees a planted error


def test_a_sliver_is_a_crowd_and_a_class_may_be_there_twice(tmp_path):
    data = RoomsInstances("train", num_images=12, height=60, width=80, cache=tmp_path)
    num_twice = num_crowds = 0
    for index in range(len(data)):
        _, targets = data[index]
        things = targets["instances"]
        areas = things["masks"].flatten(1).sum(1)
        assert torch.equal(things["crowd"], areas < LEAST)
        num_crowds += int(things["crowd"].sum())
        num_twice += len(things["labels"]) > len(things["labels"].unique())
        segments = targets["panoptic"][targets["panoptic"] >= 0].unique()
        own = segments[class_of(segments) < len(THINGS)]
        assert len(own) == int((~things["crowd"]).sum())
    assert num_twice > 3
    assert num_crowds > 0
