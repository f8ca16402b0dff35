"""Bright squares on a dark ground: a data set of things that a tiny network learns in seconds."""

import torch

from compactmtl.multitask import make_task
from compactmtl.multitask.instances import boxes_of, things
from compactmtl.multitask.segments import segment_id

TINY = {
    "depth": 18,
    "width": 0.0625,
    "fpn_channels": 8,
    "semantic_channels": 8,
    "box_channels": 16,
    "mask_channels": 8,
    "anchor_sizes": (16, 32, 64, 128, 256),
    "proposals": 30,
    "roi_batch": 32,
    "detections": 20,
    "stuff_area": 16,
}
"""Arguments of a tiny ``panoptic_fpn``."""


def tasks():
    names = ("square", "ground")
    return {
        "instances": make_task("instances", "instances", {"num_classes": 1}),
        "semantic": make_task("semantic", "segmentation", {"num_classes": 2, "classes": names}),
        "panoptic": make_task("panoptic", "panoptic", {"num_things": 1, "num_stuff": 1}),
    }


class Squares:
    """``num`` images of 64x64 with one to three squares each, the first without any."""

    def __init__(self, num, seed=0, empty_first=True):
        draw = torch.Generator().manual_seed(seed)
        self.samples = []
        for index in range(num):
            masks = torch.zeros(3, 64, 64, dtype=torch.bool)
            for mask in masks:
                side = int(torch.randint(12, 25, (), generator=draw))
                y, x = torch.randint(0, 64 - side, (2,), generator=draw).tolist()
                mask[y : y + side, x : x + side] = ~masks.any(0)[y : y + side, x : x + side]
            masks = masks[masks.flatten(1).sum(1) > 60]
            if index == 0 and empty_first:
                masks = masks[:0]
            image = 0.2 * torch.rand(3, 64, 64, generator=draw)
            numbers = torch.zeros(64, 64, dtype=torch.int64)
            for number, mask in enumerate(masks, start=1):
                image[:, mask] += 0.3 + 0.5 * torch.rand(3, 1, generator=draw)
                numbers[mask] = number
            inside = numbers > 0
            labels = torch.zeros(len(masks), dtype=torch.int64)
            targets = {
                "instances": things(boxes_of(masks), labels, masks),
                "semantic": (~inside).long(),
                "panoptic": segment_id((~inside).long(), numbers),
            }
            self.samples.append((image, targets))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]
