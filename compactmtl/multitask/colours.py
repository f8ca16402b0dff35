"""Colours for pictures of targets and predictions."""

import colorsys

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]  # (H, W, 3)

INVALID = np.array([38, 38, 43], dtype=np.uint8)
"""Colour of pixels without a label: a dark grey that no other scale here uses."""


def _rgb(*codes: str) -> npt.NDArray[np.float64]:
    return np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in codes], float)


def _table(*codes: str) -> Picture:
    """Return 256 colours interpolated between evenly spaced anchors, as (256, 3)."""
    anchors = _rgb(*codes)
    places = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, c]) for c in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


# Anchors of the published colour maps Turbo (Mikhailov, 2019) and Viridis (Smith and van der Walt,
# 2015).
TURBO = _table(
    *("30123b", "4145ab", "4675ed", "39a2fc", "1bcfd4", "24eca6", "61fc6c", "a4fc3c"),
    *("d1e834", "f3c63a", "fe9b2d", "f36315", "d93806", "b11901", "7a0402"),
)
VIRIDIS = _table(
    *("440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58"),
    *("b5de2b", "fde725"),
)

_CLASSES = _rgb(
    *("b8c4d6", "4c78a8", "f58518", "54a24b", "e45756", "72b7b2", "eeca3b", "b279a2", "9d755d"),
    *("ff9da6", "2f4b7c", "86bcb6", "d67195", "8cd17d", "a05195", "ffbe7d", "499894", "79706e"),
)


def palette(num_classes: int) -> Picture:
    """Return one colour per class as (num_classes, 3): a hand-picked set, then spread hues."""
    colours = [tuple(row) for row in _CLASSES[:num_classes]]
    for index in range(len(colours), num_classes):
        hue = (index * 0.61803398875) % 1.0  # the golden ratio keeps neighbours far apart
        value = (0.95, 0.7, 0.5)[index % 3]
        colours.append(tuple(255 * part for part in colorsys.hsv_to_rgb(hue, 0.6, value)))
    return np.array(colours, dtype=np.uint8).reshape(num_classes, 3)


def scale(
    values: npt.NDArray[np.floating], value_range: tuple[float, float], table: Picture
) -> Picture:
    """Map values (H, W) to colours; the ends of ``value_range`` are the ends of the table."""
    low, high = value_range
    place = (values.astype(np.float64) - low) / (high - low)
    index = np.nan_to_num(place.clip(0, 1) * 255, nan=0.0).round().astype(np.uint8)
    picture: Picture = table[index]
    return picture


def wheel(x: npt.NDArray[np.floating], y: npt.NDArray[np.floating], longest: float) -> Picture:
    """Map vectors to the colour wheel: direction is hue, length is saturation, zero is white.

    The length ``longest`` and above has full saturation.
    """
    hue = np.nan_to_num(np.arctan2(y, x) / (2 * np.pi) % 1.0) * 6
    saturation = np.nan_to_num(np.hypot(x, y) / longest).clip(0, 1)
    channels = []
    for offset in (5, 3, 1):  # the closed form of HSV to RGB at full value
        k = (offset + hue) % 6
        channels.append(1 - saturation * np.minimum(k, 4 - k).clip(0, 1))
    return (np.stack(channels, axis=-1) * 255).round().astype(np.uint8)
