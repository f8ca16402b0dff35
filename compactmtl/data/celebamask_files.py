"""The files of CelebAMask-HQ: attributes, the way back to CelebA, and masks of the parts."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compactmtl.data.pictures import read_plane
from compactmtl.data.text_lines import read_lines
from compactmtl.errors import CorruptFileError, DataError
from compactmtl.parts import nearest

IMAGES = "CelebA-HQ-img"
MASKS = ("CelebAMask-HQ-mask-anno", "CelebAMaskHQ-mask-anno")
"""The folder of the masks; its authors spell it in two ways."""
ATTRIBUTES, MAPPING = "CelebAMask-HQ-attribute-anno.txt", "CelebA-HQ-to-CelebA-mapping.txt"

PARTS = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth",
    "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
"""In the order they are painted, later over earlier."""
FACE = frozenset(PARTS[1:12]) - {"eye_g"}
"""Parts of the face beside the skin; glasses are none."""
FOLDER_SIZE = 2000
"""Images whose masks share a folder."""
BACKGROUND, HAIR, SKIN = 0, 1, 2

FIRST_VAL, FIRST_TEST = 162_771, 182_638
"""CelebA's official split, by an image's index (from 0) in CelebA."""


def read_attributes(path: Path, wanted: tuple[str, ...]) -> dict[int, tuple[int, ...]]:
    """Return, by image, 0 or 1 for each attribute that is wanted.

    Raises:
        MissingFileError: There is no such file.
        DataError: It has no such attribute; the message has the nearest name.
        CorruptFileError: It is not: a count, 40 names, then lines of `k.jpg` and 40 times 1 or -1.
    """
    lines = read_lines(path)
    names = lines[1].split() if len(lines) > 1 else []
    for name in wanted:
        if name not in names:
            raise DataError(
                f"`{path}` has no attribute `{name}`{nearest(name, names)}",
                hint=f"it has: {', '.join(names[:40])}",
            )
    places = [names.index(name) + 1 for name in wanted]
    found = {}
    for number, line in enumerate(lines[2:], start=3):
        cells = line.split()
        try:
            if len(cells) != len(names) + 1 or not set(cells[1:]) <= {"1", "-1"}:
                raise ValueError
            found[int(cells[0].removesuffix(".jpg"))] = tuple(
                int(cells[place] == "1") for place in places
            )
        except ValueError as error:
            raise CorruptFileError(
                f"`{path}`, line {number}: expected `k.jpg` and {len(names)} times 1 or -1, got "
                f"`{line[:40]}`"
            ) from error
    return found


def read_originals(path: Path) -> dict[int, int]:
    """Return, by image, its index in CelebA.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is not of the form: a heading, then `idx orig_idx orig_file`.
    """
    found = {}
    for number, line in enumerate(read_lines(path)[1:], start=2):
        cells = line.split()
        try:
            found[int(cells[0])] = int(cells[1])
        except (ValueError, IndexError) as error:
            raise CorruptFileError(
                f"`{path}`, line {number}: expected `idx orig_idx orig_file`, got `{line[:40]}`"
            ) from error
    return found


def official_split(original: int) -> str:
    """Return CelebA's split of an image, by its index there."""
    if original < FIRST_VAL:
        return "train"
    return "val" if original < FIRST_TEST else "test"


def seeded_split(
    images: list[int], shares: tuple[float, float, float], seed: int
) -> dict[str, list[int]]:
    """Return a random split; it depends on the images, the shares and the seed alone.

    Args:
        images: All images.
        shares: Of train, val and test; what rounding leaves is "test".
        seed: At least 0.
    """
    order = np.random.default_rng(seed).permutation(sorted(images)).tolist()
    first = round(shares[0] * len(order))
    second = first + round(shares[1] * len(order))
    parts = {"train": order[:first], "val": order[first:second], "test": order[second:]}
    return {name: sorted(part) for name, part in parts.items()}


def read_masks(folder: Path, image: int, *, merge_face: bool) -> npt.NDArray[np.uint8] | None:
    """Return background, hair and skin (H, W); None for an image without any mask.

    Parts are painted in the order of ``PARTS``; skin is what of it is not painted over.

    Args:
        folder: The folder of the masks.
        image: Number of the image.
        merge_face: Count nose, eyes, brows, ears, mouth and lips as skin.

    Raises:
        CorruptFileError: A mask is damaged, or of another size than the image's other ones.
    """
    classes: npt.NDArray[np.uint8] | None = None
    for part in PARTS:
        path = folder / str(image // FOLDER_SIZE) / f"{image:05d}_{part}.png"
        if not path.is_file():
            continue
        mask: npt.NDArray[Any] = read_plane(path)
        if classes is None:
            classes = np.zeros(mask.shape, np.uint8)
        if mask.shape != classes.shape:
            raise CorruptFileError(
                f"`{path}` has shape {mask.shape}, the image's other masks {classes.shape}"
            )
        is_skin = part == "skin" or (merge_face and part in FACE)
        classes[mask > 0] = SKIN if is_skin else HAIR if part == "hair" else BACKGROUND
    return classes
