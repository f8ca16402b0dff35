"""Anchors, and boxes made of them: decoded, cut to the image, thinned out where they overlap.

The arithmetic is torchvision's (BSD-3-Clause), whose network this completes; dtypes are kept.
"""

import math

import numpy as np

from compactmtl.board.panoptic.parts import Part
from compactmtl.board.tensors import Array

MOST_GROWTH = math.log(1000 / 16)
"""A box grows by no larger factor than e to this."""


def grid_anchors(
    height: int, width: int, stride: tuple[int, int], size: int, aspects: tuple[float, ...]
) -> Array:
    """Return the anchors of one level, x0 y0 x1 y1 in pixels, row by row, aspect by aspect.

    Args:
        height: Rows of the level.
        width: Its columns.
        stride: Pixels of the image per row and per column.
        size: Side of a square anchor.
        aspects: Height over width.

    Shape:
        -> (height * width * len(aspects), 4) float32.
    """
    root = np.sqrt(np.asarray(aspects, dtype=np.float32))
    wide, high = (1 / root) * np.float32(size), root * np.float32(size)
    base = np.round(np.stack([-wide, -high, wide, high], axis=1) / 2)
    y, x = np.meshgrid(np.arange(height) * stride[0], np.arange(width) * stride[1], indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4).astype(np.float32)
    anchors: Array = (shifts + base[None]).reshape(-1, 4).astype(np.float32)
    return anchors


def decode(deltas: Array, boxes: Array, weights: tuple[float, float, float, float]) -> Array:
    """Return boxes moved and scaled by deltas.

    Args:
        deltas: (n, ..., 4): along x, along y, and the logarithms of both sides.
        boxes: (n, 4).
        weights: What each delta is divided by.

    Shape:
        -> as ``deltas``.
    """
    shape = (len(boxes), *(1,) * (deltas.ndim - 2))
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x = (boxes[:, 0] + wide.dtype.type(0.5) * wide).reshape(shape)
    y = (boxes[:, 1] + wide.dtype.type(0.5) * high).reshape(shape)
    wide, high = wide.reshape(shape), high.reshape(shape)
    along = deltas / np.asarray(weights, dtype=deltas.dtype)
    x = along[..., 0] * wide + x
    y = along[..., 1] * high + y
    half_w = np.exp(np.minimum(along[..., 2], MOST_GROWTH)) * wide * wide.dtype.type(0.5)
    half_h = np.exp(np.minimum(along[..., 3], MOST_GROWTH)) * high * high.dtype.type(0.5)
    return np.stack([x - half_w, y - half_h, x + half_w, y + half_h], axis=-1)


def clip(boxes: Array, height: int, width: int) -> Array:
    """Return boxes (..., 4) cut to the image."""
    limits = np.array([width, height, width, height], dtype=boxes.dtype)
    cut: Array = np.clip(boxes, 0, limits)
    return cut


def sides_from(boxes: Array, least: float) -> Array:
    """Tell which boxes (n, 4) have no side below ``least``."""
    sides = boxes[:, 2:] - boxes[:, :2]
    large: Array = sides.min(axis=1, initial=np.inf) >= least
    return large


def kept_of(boxes: Array, scores: Array, kinds: Array, threshold: float, suppress: Part) -> Array:
    """Return the places of boxes that no better box of their kind overlaps by more, best first.

    Args:
        boxes: (n, 4).
        scores: (n,).
        kinds: (n,) levels, or classes.
        threshold: On the area of the intersection over that of the union.
        suppress: ``boxes``, ``scores`` and ``threshold`` (1,) to ``kept``, places in these boxes:
            non-maximum suppression.
    """
    limit = np.array([threshold], dtype=np.float32)
    kept = [
        members[
            suppress({"boxes": boxes[members], "scores": scores[members], "threshold": limit})[
                "kept"
            ]
        ]
        for members in (np.flatnonzero(kinds == kind) for kind in np.unique(kinds))
    ]
    found = np.sort(np.concatenate(kept)) if kept else np.zeros(0, dtype=np.int64)
    best_first: Array = found[np.argsort(-scores[found], kind="stable")]
    return best_first
