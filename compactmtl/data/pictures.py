"""Reading picture files, with what can go wrong said in one line."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from compactmtl.errors import CorruptFileError, MissingFileError


def read_rgb(path: Path, content: BinaryIO | None = None) -> npt.NDArray[np.uint8]:
    """Return a photograph (H, W, 3), from a file or from its content, which ``path`` then names.

    Raises:
        MissingFileError: There is no such file, or it is not readable.
        CorruptFileError: It is no JPEG or PNG picture, or damaged.
    """
    return np.asarray(_decoded(path, content, "RGB"), dtype=np.uint8)


def read_plane(path: Path, content: BinaryIO | None = None) -> npt.NDArray[Any]:
    """Return a picture of one channel (H, W): labels or a mask, as they are stored.

    Arguments as for ``read_rgb``.

    Raises:
        MissingFileError: There is no such file, or it is not readable.
        CorruptFileError: It is no JPEG or PNG picture, damaged, or of several channels.
    """
    plane = np.asarray(_decoded(path, content, None))
    if plane.ndim == 3 and (plane == plane[..., :1]).all():
        plane = plane[..., 0]  # grey, stored as colours
    if plane.ndim != 2:
        raise CorruptFileError(f"`{path}` has shape {plane.shape}, expected one channel (H, W)")
    return plane


def _decoded(path: Path, content: BinaryIO | None, mode: str | None) -> Image.Image:
    try:
        with Image.open(content or path, formats=["JPEG", "PNG"]) as picture:
            return picture.convert(mode) if mode else picture.copy()
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no such file: `{path}`", hint="`compactmtl data check DIR` lists what is missing"
        ) from error
    except PermissionError as error:
        raise MissingFileError(f"cannot read `{path}`: {error.strerror}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptFileError(
            f"`{path}` is damaged or no picture: {error}", hint="fetch it again"
        ) from error
