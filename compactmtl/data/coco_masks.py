"""Masks as COCO writes them: polygons, run lengths, and run lengths as text."""

from typing import Any

import numpy as np
import numpy.typing as npt

from compactmtl.errors import DataError
from compactmtl.multitask.instance_metric import check_extra

Mask = npt.NDArray[np.bool_]


def decode_mask(segmentation: Any, height: int, width: int, what: str) -> Mask:
    """Return a mask of an image of this size.

    Args:
        segmentation: A list of polygons, each x0, y0, x1, y1, ...; or ``size`` and ``counts`` of
            runs of 0 and 1 in turn, column by column, as numbers or packed as text.
        height: Of the image.
        width: Of the image.
        what: Begins the message of an error.

    Raises:
        DataError: It is neither, or does not fit the image.
        MissingExtraError: Polygons need the extra `coco`.

    Source: the description of the format published with COCO; polygons are drawn by its own rule.
    """
    if isinstance(segmentation, list):
        return _polygons(segmentation, height, width, what)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= set(segmentation):
        raise DataError(f"{what}: segmentation is neither polygons nor run lengths")
    if list(segmentation["size"]) != [height, width]:
        raise DataError(
            f"{what}: run lengths are of an image of {segmentation['size']}, "
            f"expected {[height, width]}"
        )
    counts = segmentation["counts"]
    runs = np.array(_unpacked(counts, what) if isinstance(counts, str) else counts)
    num = height * width
    if runs.dtype.kind != "i" or ((runs < 0) | (runs > num)).any() or int(runs.sum()) != num:
        raise DataError(f"{what}: run lengths do not add up to the {num} pixels of the image")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _polygons(polygons: list[Any], height: int, width: int, what: str) -> Mask:
    """Return the union of polygons."""
    for polygon in polygons:
        numbers = isinstance(polygon, list) and all(isinstance(v, int | float) for v in polygon)
        if not numbers or len(polygon) < 6 or len(polygon) % 2 or not np.isfinite(polygon).all():
            raise DataError(f"{what}: a polygon is not a list of x and y of 3 points or more")
    if not polygons:
        raise DataError(f"{what}: segmentation holds no polygon")
    check_extra()
    from faster_coco_eval.core import mask

    found = mask.decode(mask.merge(mask.frPyObjects(polygons, height, width)))
    return np.asarray(found, dtype=np.bool_).reshape(height, width)


def _unpacked(text: str, what: str) -> list[int]:
    """Return run lengths from text: 5 bits per letter from `0` on, the 6th says that more follow.

    From the fourth number on, what is written is the difference to the number two before.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise DataError(f"{what}: {letter!r} in packed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise DataError(f"{what}: packed run lengths end in the middle of a number")
    return runs
