"""Writes a few samples in the layout of NYUv2 as MTAN's authors prepared it."""

from pathlib import Path

import numpy as np


def write_nyuv2(root: Path, *, num_train: int = 6, num_val: int = 3, size=(24, 32)) -> Path:
    """Write ``root/nyuv2``; values depend on the sample's number, so that a mix-up shows."""
    generator = np.random.default_rng(0)
    for split, number in (("train", num_train), ("val", num_val)):
        for kind in ("image", "label", "depth", "normal"):
            (root / "nyuv2" / split / kind).mkdir(parents=True)
        for index in range(number):
            normal = generator.standard_normal((*size, 3))
            normal /= np.linalg.norm(normal, axis=2, keepdims=True)
            normal[0] = 0
            label = generator.integers(-1, 13, size).astype(np.float64)
            depth = generator.uniform(1, 9, (*size, 1))
            depth[:, 0] = 0
            arrays = {
                "image": generator.random((*size, 3)),
                "label": label,
                "depth": depth,
                "normal": normal,
            }
            for kind, array in arrays.items():
                np.save(root / "nyuv2" / split / kind / f"{index}.npy", array)
    return root
