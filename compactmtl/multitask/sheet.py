"""Pictures side by side under captions, in rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from compactmtl.multitask.colours import Picture

GAP = 4
MIN_WIDTH = 192
"""Narrower pictures are enlarged by a whole number, so that one can see them."""
HEADING = 14
"""Pixels above each picture for its caption."""


def photo(image: npt.NDArray[np.floating]) -> Picture:
    """Return an image (3, H, W) in 0 to 1 as (H, W, 3) in 0 to 255."""
    scaled: Picture = (np.clip(image, 0.0, 1.0) * 255.0).round().astype(np.uint8).transpose(1, 2, 0)
    return scaled


def sheet(row: Mapping[str, Picture]) -> Image.Image:
    """Return pictures side by side, each under its caption."""
    times = -(-MIN_WIDTH // max(picture.shape[1] for picture in row.values()))
    row = {text: picture.repeat(times, 0).repeat(times, 1) for text, picture in row.items()}
    height = max(picture.shape[0] for picture in row.values())
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    widths = [max(p.shape[1], int(probe.textlength(text)) + 2) for text, p in row.items()]
    drawn = Image.new(
        "RGB", (sum(widths) + GAP * (len(row) + 1), height + HEADING + 2 * GAP), "white"
    )
    draw = ImageDraw.Draw(drawn)
    left = GAP
    for (text, picture), width in zip(row.items(), widths, strict=True):
        draw.text((left, 2), text, fill="black")
        drawn.paste(Image.fromarray(picture), (left, HEADING + GAP))
        left += width + GAP
    return drawn


def stacked(rows: Sequence[Image.Image]) -> Image.Image:
    """Return sheets below each other."""
    whole = Image.new("RGB", (max(r.width for r in rows), sum(r.height for r in rows)), "white")
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height
    return whole
