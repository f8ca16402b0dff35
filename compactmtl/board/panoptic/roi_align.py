"""What the heads see of a box: the pyramid, sampled on a grid in the box."""

from collections.abc import Sequence

import numpy as np

from compactmtl.board.tensors import Array

SAMPLES = 2
"""Samples along each side of a bin, averaged."""
BLOCK = 64
"""Boxes that are sampled together: memory stays small."""
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


def pooled(levels: Sequence[Array], boxes: Array, side: int, canonical: int) -> Array:
    """Return the features of boxes.

    Args:
        levels: Features (C, h, w) of 1/4, 1/8, 1/16 and 1/32 of the image.
        boxes: (n, 4), in pixels of the image.
        side: Bins along each side of a box.
        canonical: Side of a box of the middle level.

    Shape:
        -> (n, C, side, side).
    """
    features = np.zeros((len(boxes), len(levels[0]), side, side), dtype=levels[0].dtype)
    level = levels_of(boxes, canonical)
    for place, each in enumerate(levels):
        own = np.flatnonzero(level == place)
        if len(own):
            features[own] = _aligned(each, boxes[own] / (1 << (place + FINEST)), side)
    return features


def _aligned(features: Array, boxes: Array, side: int) -> Array:
    """Average bilinear samples of each bin of each box, in pixels of this level."""
    num_channels, height, width = features.shape
    by_place = np.ascontiguousarray(features.reshape(num_channels, -1).T)
    parts = [
        _averaged(by_place, boxes[start : start + BLOCK], side, height, width)
        for start in range(0, len(boxes), BLOCK)
    ]
    found: Array = np.concatenate(parts).transpose(0, 3, 1, 2)
    return found


def _averaged(by_place: Array, boxes: Array, side: int, height: int, width: int) -> Array:
    """Return (n, side, side, C) of some boxes, from features (height * width, C)."""
    extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    steps = (np.arange(side * SAMPLES, dtype=boxes.dtype) + boxes.dtype.type(0.5)) / SAMPLES
    rows = _ends(boxes[:, 1:2] + steps * (extent[:, 1:] / side), height)
    columns = _ends(boxes[:, 0:1] + steps * (extent[:, :1] / side), width)
    total: Array = np.zeros((), dtype=by_place.dtype)
    for row, of_row in rows:
        for column, of_column in columns:
            places = row[:, :, None] * width + column[:, None, :]
            weights = (of_row[:, :, None] * of_column[:, None, :]).astype(by_place.dtype)
            total = total + by_place[places] * weights[..., None]
    bins = total.reshape(len(boxes), side, SAMPLES, side, SAMPLES, -1)
    averaged: Array = bins.mean(axis=(2, 4))
    return averaged


def _ends(places: Array, size: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return the two pixels that each sample (n, samples) lies between, each with its weight."""
    inside = (places >= -1) & (places <= size)
    places = np.clip(places, 0, size - 1)
    low = places.astype(np.int64)
    above = places - low
    high = np.minimum(low + 1, size - 1)
    return (low, np.where(inside, 1 - above, 0)), (high, np.where(inside, above, 0))
