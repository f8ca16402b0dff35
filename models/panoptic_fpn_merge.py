"""One panoptic map from things and a semantic map, by the published rule."""

from collections.abc import Mapping

import torch
from torch import Tensor

from compactmtl.multitask.segments import VOID, segment_id


def merge(
    things: Mapping[str, Tensor],
    semantic: Tensor,
    num_things: int,
    *,
    stuff_area: int,
    score: float = 0.5,
    overlap: float = 0.5,
) -> Tensor:
    """Return a panoptic map: things by falling score, each keeping what is still free, then stuff.

    Args:
        things: ``scores``, ``labels`` and ``masks`` of one image, best first.
        semantic: Logits (num_stuff + 1, H, W); class 0 is any thing.
        num_things: Number of classes of things; stuff is numbered behind them.
        stuff_area: Stuff of fewer pixels becomes void.
        score: Things below are left out.
        overlap: A thing of which more than this share is taken already is left out.

    Returns:
        (H, W) int64, ids of ``compactmtl.multitask.segments``; void where neither says anything.

    Source:
        Kirillov et al. (2019), Panoptic Segmentation, section 6, with the limits of their Panoptic
        Feature Pyramid Networks.
    """
    ids = torch.full(semantic.shape[1:], VOID, dtype=torch.int64, device=semantic.device)
    number = 0
    for sure, label, mask in zip(
        things["scores"].tolist(), things["labels"].tolist(), things["masks"], strict=True
    ):
        free = mask & (ids == VOID)
        area, left = int(mask.sum()), int(free.sum())
        if sure < score or area == 0 or area - left > overlap * area:
            continue
        number += 1
        ids[free] = int(segment_id(label, number))
    stuff = semantic.argmax(dim=0)
    for its_class in range(1, semantic.shape[0]):
        free = (stuff == its_class) & (ids == VOID)
        if int(free.sum()) >= stuff_area:
            ids[free] = int(segment_id(num_things + its_class - 1, 0))
    return ids
