"""From masks of boxes to masks of the image, and to one panoptic map."""

import numpy as np

from compactmtl.board.tensors import Array

MOST = 1 << 20
"""A segment's id is its class times this, plus its number; stuff has the number 0."""
VOID = -1
BLOCK = 1 << 20
"""Pixels of masks that are worked on together: memory stays small."""
MARGIN = 1
"""Zeros around a mask, so that it fades out at the edge of its box."""


def extents(boxes: Array, side: int) -> Array:
    """Return where the masks of boxes lie, margin and all; outside of it they are empty.

    Args:
        boxes: (n, 4), x0 y0 x1 y1.
        side: Of a mask.

    Shape:
        -> (n, 4) int64, x0 y0 x1 y1, without the last column and row; some lie outside the image.
    """
    half = (boxes[:, 2:] - boxes[:, :2]) * boxes.dtype.type(0.5)
    middle = (boxes[:, 2:] + boxes[:, :2]) * boxes.dtype.type(0.5)
    half = half * boxes.dtype.type((side + 2 * MARGIN) / side)
    first = (middle - half).astype(np.int64)
    size = np.maximum((middle + half).astype(np.int64) - first + 1, 1)
    return np.concatenate([first, first + size], axis=1)


def inside(extent: Array, height: int, width: int) -> Array:
    """Return extents (n, 4) cut to the image; what lies outside has no rows or columns."""
    cut: Array = np.clip(extent, 0, np.array([width, height, width, height]))
    return cut


def pasted(masks: Array, boxes: Array, height: int, width: int) -> Array:
    """Return masks of boxes as masks of the image.

    Args:
        masks: (n, side, side), probabilities.
        boxes: (n, 4), x0 y0 x1 y1.
        height: Of the image.
        width: Of the image.

    Shape:
        -> (n, height, width) bool.
    """
    found = np.zeros((len(masks), height, width), dtype=bool)
    extent = extents(boxes, masks.shape[1])
    seen = inside(extent, height, width)
    sizes = seen[:, 2:] - seen[:, :2]
    block = np.cumsum(sizes.prod(axis=1)) // BLOCK
    padded = np.pad(masks, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    for own in (np.flatnonzero(block == each) for each in np.unique(block)):
        _paste(found, padded, extent, seen, own)
    return found


def _paste(found: Array, padded: Array, extent: Array, seen: Array, own: Array) -> None:
    """Resize some masks bilinearly, rows first, the centres of pixels where they were."""
    of_row, y = _steps(own, seen[own, 1], seen[own, 3])
    low, high, above = _between(y, extent[of_row, 1], extent[of_row, 3], padded)
    rows = padded[of_row, low] * (1 - above)[:, None] + padded[of_row, high] * above[:, None]
    of_column, x = _steps(own, seen[own, 0], seen[own, 2])
    low, high, above = _between(x, extent[of_column, 0], extent[of_column, 2], padded)
    # Each row meets the columns of its own mask.
    first = np.searchsorted(of_column, of_row)
    row, column = _steps(np.arange(len(of_row)), first, np.searchsorted(of_column, of_row, "right"))
    a = above[column]
    values = rows[row, low[column]] * (1 - a) + rows[row, high[column]] * a
    found[of_row[row], y[row], x[column]] = values > 0.5


def _steps(names: Array, starts: Array, ends: Array) -> tuple[Array, Array]:
    """Return all numbers from each start to its end, end to end, and each one's name."""
    counts = np.maximum(ends - starts, 0)
    before = np.cumsum(counts) - counts
    return np.repeat(names, counts), np.arange(counts.sum()) + np.repeat(starts - before, counts)


def _between(at: Array, start: Array, end: Array, padded: Array) -> tuple[Array, Array, Array]:
    """Return the two pixels of a mask that each pixel lies between, and the second's weight."""
    kind, side = padded.dtype.type, padded.shape[1]
    scale = (side / (end - start)).astype(padded.dtype)
    places = ((at - start).astype(padded.dtype) + kind(0.5)) * scale - kind(0.5)
    places = np.maximum(places, 0)
    low = np.minimum(places.astype(np.int64), side - 1)
    return low, np.minimum(low + 1, side - 1), (places - low).astype(padded.dtype)


def merged(
    scores: Array,
    labels: Array,
    masks: Array,
    extent: Array,
    semantic: Array,
    *,
    num_things: int,
    stuff_area: int,
    score: float = 0.5,
    overlap: float = 0.5,
) -> Array:
    """Return the panoptic map (H, W) int64.

    Args:
        scores: (n,), best first.
        labels: (n,).
        masks: (n, H, W) bool.
        extent: (n, 4): where each mask lies, see ``inside``.
        semantic: (C, H, W) logits; class 0 is any thing.
        num_things: Number of classes of things.
        stuff_area: Stuff of fewer pixels becomes void.
        score: Things that are less sure are left out.
        overlap: So are those of which more than this share is taken already.

    Source: Kirillov et al. (2019), Panoptic Segmentation, section 6, with the limits of their
    Panoptic Feature Pyramid Networks.
    """
    ids = np.full(semantic.shape[1:], VOID, dtype=np.int64)
    number = 0
    for sure, label, mask, (x0, y0, x1, y1) in zip(  # noqa: B905
        scores.tolist(), labels.tolist(), masks, extent.tolist()
    ):
        window = (slice(y0, y1), slice(x0, x1))
        mask = mask[window]
        free = mask & (ids[window] == VOID)
        area, left = int(mask.sum()), int(free.sum())
        if sure < score or area == 0 or area - left > overlap * area:
            continue
        number += 1
        ids[window][free] = label * MOST + number
    stuff = semantic.argmax(axis=0)
    for its_class in range(1, len(semantic)):
        free = (stuff == its_class) & (ids == VOID)
        if int(free.sum()) >= stuff_area:
            ids[free] = (num_things + its_class - 1) * MOST
    return ids
