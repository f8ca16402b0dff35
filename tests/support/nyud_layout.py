"""Writes a few samples in the layout NYUD_MT."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_nyud(root: Path, *, num_train: int = 6, num_val: int = 3, size=(20, 26)) -> Path:
    """Write ``root/NYUD_MT``; ids are four digits that do not start at 0, as in the original."""
    folder = root / "NYUD_MT"
    for kind in ("images", "segmentation", "depth", "normals", "edge", "gt_sets"):
        (folder / kind).mkdir(parents=True)
    generator = np.random.default_rng(0)
    ids = [f"{7 + 3 * place:04d}" for place in range(num_train + num_val)]
    for name in ids:
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg", quality=95)
        labels = generator.integers(0, 41, size).astype(np.uint8)
        Image.fromarray(labels).save(folder / "segmentation" / f"{name}.png")
        np.save(folder / "depth" / f"{name}.npy", generator.uniform(1, 9, size).astype(np.float32))
        normals = generator.standard_normal((*size, 3)).astype(np.float32)
        normals /= np.linalg.norm(normals, axis=2, keepdims=True)
        np.save(folder / "normals" / f"{name}.npy", normals)
        np.save(folder / "edge" / f"{name}.npy", np.zeros(size, np.float32))
    (folder / "gt_sets/train.txt").write_text("\n".join(ids[:num_train]) + "\n")
    (folder / "gt_sets/val.txt").write_text("\n".join(ids[num_train:]) + "\n")
    return root
