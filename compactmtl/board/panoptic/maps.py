"""From masks of boxes to masks of the image, and to one panoptic map."""

import numpy as np

from compactmtl.board.tensors import Array

MOST = 1 << 20
"""A segment's id is its class times this, plus its number; stuff has the number 0."""
VOID = -1
MARGIN = 1
"""Zeros around a mask, so that it fades out at the edge of its box."""


def pasted(mask: Array, box: Array, height: int, width: int) -> Array:
    """Return one box's mask (28, 28) of probabilities as a mask (height, width) of the image."""
    side = len(mask) + 2 * MARGIN
    padded = np.pad(mask, MARGIN)
    half = (box[2:] - box[:2]) * box.dtype.type(0.5)
    middle = (box[2:] + box[:2]) * box.dtype.type(0.5)
    half = half * box.dtype.type(side / len(mask))
    x0, y0 = (middle - half).astype(np.int64).tolist()
    x1, y1 = (middle + half).astype(np.int64).tolist()
    scaled = _resized(padded, max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1))
    found = np.zeros((height, width), dtype=mask.dtype)
    top, bottom = max(y0, 0), min(y1 + 1, height)
    left, right = max(x0, 0), min(x1 + 1, width)
    if top < bottom and left < right:
        found[top:bottom, left:right] = scaled[top - y0 : bottom - y0, left - x0 : right - x0]
    return found > 0.5


def _resized(image: Array, height: int, width: int) -> Array:
    """Resize bilinearly, the centres of pixels where they were."""
    for axis, size in enumerate((height, width)):
        own = image.shape[axis]
        kind = image.dtype.type
        places = (np.arange(size, dtype=image.dtype) + kind(0.5)) * kind(own / size) - kind(0.5)
        places = np.maximum(places, 0)
        low = np.minimum(places.astype(np.int64), own - 1)
        high = np.minimum(low + 1, own - 1)
        above = (places - low).astype(image.dtype)
        above = above[:, None] if axis == 0 else above
        image = image.take(low, axis) * (1 - above) + image.take(high, axis) * above
    return image


def merged(
    scores: Array,
    labels: Array,
    masks: Array,
    semantic: Array,
    *,
    num_things: int,
    stuff_area: int,
    score: float = 0.5,
    overlap: float = 0.5,
) -> Array:
    """Return the panoptic map (H, W) int64 of things, best first, and semantic logits (C, H, W).

    Source: Kirillov et al. (2019), Panoptic Segmentation, section 6, with the limits of their
    Panoptic Feature Pyramid Networks.
    """
    ids = np.full(semantic.shape[1:], VOID, dtype=np.int64)
    number = 0
    for sure, label, mask in zip(scores.tolist(), labels.tolist(), masks):  # noqa: B905
        free = mask & (ids == VOID)
        area, left = int(mask.sum()), int(free.sum())
        if sure < score or area == 0 or area - left > overlap * area:
            continue
        number += 1
        ids[free] = label * MOST + number
    stuff = semantic.argmax(axis=0)
    for its_class in range(1, len(semantic)):
        free = (stuff == its_class) & (ids == VOID)
        if int(free.sum()) >= stuff_area:
            ids[free] = (num_things + its_class - 1) * MOST
    return ids
