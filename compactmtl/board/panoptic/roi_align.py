"""What the heads see of a box: the pyramid, sampled on a grid in the box."""

from collections.abc import Sequence

import numpy as np

from compactmtl.board.panoptic.parts import Part
from compactmtl.board.tensors import Array

SAMPLES = 2
"""Samples along each side of a bin."""
FINEST, COARSEST, MIDDLE = 2, 5, 4
"""Levels of the pyramid by the logarithm of their stride; a box of the canonical size is of the
middle one."""


def levels_of(boxes: Array, canonical: int) -> Array:
    """Return for each box (n, 4) which of the four levels it is taken from, 0 the finest.

    Source: Lin et al. (2017), Feature Pyramid Networks, equation (1).
    """
    with np.errstate(divide="ignore"):
        sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
        level = np.floor(MIDDLE + np.log2(sides / canonical) + boxes.dtype.type(1e-6))
    places: Array = np.clip(level, FINEST, COARSEST).astype(np.int64) - FINEST
    return places


def pooled(levels: Sequence[Array], boxes: Array, side: int, canonical: int, align: Part) -> Array:
    """Return the features of boxes.

    Args:
        levels: Features (C, h, w) of 1/4, 1/8, 1/16 and 1/32 of the image.
        boxes: (n, 4), in pixels of the image.
        side: Bins along each side of a box.
        canonical: Side of a box of the middle level.
        align: ``features`` (1, C, h, w) and ``boxes`` (n, 4), in pixels of that level, to
            ``aligned`` (n, C, side, side): the average of bilinear samples in each bin.

    Shape:
        -> (n, C, side, side).
    """
    features = np.zeros((len(boxes), len(levels[0]), side, side), dtype=levels[0].dtype)
    level = levels_of(boxes, canonical)
    for place, each in enumerate(levels):
        own = np.flatnonzero(level == place)
        if len(own):
            scaled = boxes[own] / boxes.dtype.type(1 << (place + FINEST))
            features[own] = align({"features": each[None], "boxes": scaled})["aligned"]
    return features
