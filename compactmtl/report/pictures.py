"""Arrays as pictures inside the page."""

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.uint8]
"""RGB, (H, W, 3), 0 to 255."""

MAX_WIDTH = 384
"""Wider pictures are scaled down: they are shown small, and the page carries all of them."""


def to_picture(image: npt.NDArray[np.floating]) -> Picture:
    """Return an image (3, H, W) in [0, 1] as a picture; a single channel becomes grey."""
    channels = np.repeat(image, 3, axis=0) if image.shape[0] == 1 else image[:3]
    scaled = np.clip(np.nan_to_num(channels), 0.0, 1.0) * 255.0
    picture: Picture = scaled.round().astype(np.uint8).transpose(1, 2, 0)
    return picture


def data_uri(picture: Picture) -> str:
    """Return a picture as a PNG data URI."""
    image = Image.fromarray(picture)
    if image.width > MAX_WIDTH:
        size = (MAX_WIDTH, round(image.height * MAX_WIDTH / image.width))
        image = image.resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
