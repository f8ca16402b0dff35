"""Bring images and targets to another size."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def resized_image(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Resize an image (H, W, 3), bilinear, averaging where it shrinks.

    Args:
        pixels: RGB.
        size: Height and width wanted.
    """
    if pixels.shape[:2] == size:
        return pixels
    resized = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8)


def nearest(values: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Take the values (H, W, ...) nearest to the centres of a grid of another size.

    For labels, and for whatever has invalid pixels: nothing is mixed across an edge or with them.
    """
    rows, columns = (
        ((np.arange(wanted) + 0.5) * (given / wanted)).astype(np.intp)
        for given, wanted in zip(values.shape[:2], size, strict=True)
    )
    taken: npt.NDArray[Any] = values[rows[:, None], columns[None, :]]
    return taken
