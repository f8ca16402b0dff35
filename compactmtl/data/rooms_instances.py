"""The rendered rooms, thing by thing: instances and panoptic maps."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from compactmtl.data.rooms import Rooms, picture
from compactmtl.data.rooms_geometry import CLASS_NAMES, RoomClass
from compactmtl.multitask import make_task
from compactmtl.multitask.instances import boxes_of, things
from compactmtl.multitask.segments import CROWD, segment_id
from compactmtl.multitask.task import Task

STUFF = (RoomClass.WALL, RoomClass.FLOOR, RoomClass.CEILING)
THINGS = tuple(each for each in RoomClass if each not in STUFF)
LEAST = 16
"""Visible pixels of a thing that is looked for; a sliver is marked as a crowd, and counts neither
in training nor in the scores."""
NUMBERS = torch.tensor([(*THINGS, *STUFF).index(each) for each in RoomClass])
"""``RoomClass`` to the class here: things first, then stuff."""


class RoomsInstances(Rooms):
    """The scenes of ``Rooms``, with one mask per thing; arguments and cache as there.

    A thing is what one piece of furniture, door, window, lamp or picture shows of one class; small
    objects that stand on the same piece are one thing.

    Shape:
        image: (3, H, W) float32 in 0 to 1, RGB.
        instances: Boxes, labels and masks of the 10 classes ``THINGS``, see
            ``compactmtl.multitask.instances``.
        semantic: (H, W) int64, 0 any thing, from 1 wall, floor and ceiling.
        panoptic: (H, W) int64, ids of ``compactmtl.multitask.segments``.

    Raises:
        UsageError: As ``Rooms``.
        WriteError: As ``Rooms``.
    """

    stores_things: ClassVar[bool] = True

    @staticmethod
    def declared_tasks(**_args: object) -> dict[str, Task]:
        """Return the tasks this data set has targets for, whatever its arguments."""
        names = tuple(CLASS_NAMES[each] for each in (*THINGS, *STUFF))
        num_things, num_stuff = len(THINGS), len(STUFF)
        return {
            "instances": make_task(
                "instances",
                "instances",
                {"num_classes": num_things, "classes": names[:num_things]},
            ),
            "semantic": make_task(
                "semantic",
                "segmentation",
                {"num_classes": num_stuff + 1, "classes": ("thing", *names[num_things:])},
            ),
            "panoptic": make_task(
                "panoptic",
                "panoptic",
                {"num_things": num_things, "num_stuff": num_stuff, "classes": names},
            ),
        }

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        record = self.record(index)
        classes = NUMBERS[torch.from_numpy(record["seg"].astype(np.int64))]
        is_thing = classes < len(THINGS)
        numbers = torch.from_numpy(record["thing"].astype(np.int64)) * is_thing
        present = torch.unique(numbers[is_thing])
        masks = numbers == present[:, None, None]
        labels = torch.stack([classes[mask][0] for mask in masks]) if len(present) else present
        crowd = masks.flatten(1).sum(1) < LEAST
        panoptic = segment_id(classes, numbers)
        for mask, label in zip(masks[crowd], labels[crowd], strict=True):
            panoptic[mask] = CROWD - label
        return picture(record), {
            "instances": things(boxes_of(masks), labels, masks, crowd=crowd),
            "semantic": (classes - len(THINGS) + 1).clamp(min=0),
            "panoptic": panoptic,
        }
