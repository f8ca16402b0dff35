"""Writes a few samples in the layout of CelebAMask-HQ."""

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ["5_o_Clock_Shadow", *(f"Attribute_{n}" for n in range(1, 20)), "Male"]
NAMES += [*(f"Attribute_{n}" for n in range(21, 31)), "Smiling"]
NAMES += [f"Attribute_{n}" for n in range(32, 40)]
ORIGINALS = [5, 162_770, 162_771, 182_637, 182_638, 202_598, 17, 40]
"""CelebA's index of each image: the borders of the official split among them."""
SIZE = 32


def boxes() -> dict[str, tuple[slice, slice]]:
    """Return where each part is painted; skin is a square with parts over it."""
    return {
        "skin": (slice(8, 28), slice(8, 24)),
        "nose": (slice(16, 20), slice(14, 18)),
        "eye_g": (slice(12, 14), slice(9, 12)),
        "u_lip": (slice(23, 25), slice(13, 19)),
        "hair": (slice(4, 12), slice(6, 26)),
        "hat": (slice(2, 6), slice(6, 26)),
    }


def attribute(image: int, name: str) -> int:
    """Return 1 or -1, as stored."""
    return 1 if (image * 7 + NAMES.index(name) * 3) % 5 < 2 else -1


def write_celebamask(root: Path, *, masks: str = "CelebAMask-HQ-mask-anno", without=()) -> Path:
    """Write ``root/CelebAMask-HQ``; images in ``without`` have no mask."""
    folder = root / "CelebAMask-HQ"
    (folder / "CelebA-HQ-img").mkdir(parents=True)
    (folder / masks / "0").mkdir(parents=True)
    for image in range(len(ORIGINALS)):
        pixels = np.full((2 * SIZE, 2 * SIZE, 3), 20 + 20 * image, np.uint8)
        Image.fromarray(pixels).save(folder / "CelebA-HQ-img" / f"{image}.jpg", quality=95)
        for part, box in boxes().items():
            if image in without:
                continue
            mask = np.zeros((SIZE, SIZE), np.uint8)
            mask[box] = 255
            Image.fromarray(mask).save(folder / masks / "0" / f"{image:05d}_{part}.png")
    rows = [
        f"{image}.jpg  " + " ".join(str(attribute(image, name)) for name in NAMES)
        for image in range(len(ORIGINALS))
    ]
    text = [str(len(ORIGINALS)), " ".join(NAMES), *rows]
    (folder / "CelebAMask-HQ-attribute-anno.txt").write_text("\n".join(text) + "\n")
    lines = [f"{k:10d}{o:15d}      {o + 1:06d}.jpg" for k, o in enumerate(ORIGINALS)]
    heading = "idx      orig_idx      orig_file"
    (folder / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join([heading, *lines]) + "\n")
    return root
