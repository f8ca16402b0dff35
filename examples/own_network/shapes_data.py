"""An own data set: drawn shapes with four labels per pixel, one of them of an own kind."""

import colorsys

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

SPLITS = {"train": 0, "val": 1, "test": 2}


class Shapes(Dataset):
    """Circles, squares and triangles of any colour, some in front of others.

    The factory that a recipe names: it is called as ``Shapes(split, **args)``.

    Targets:
        shape: int64 (H, W): 0 background, 1 circle, 2 square, 3 triangle.
        outline: float32 (1, H, W): 1 at the rim of a shape.
        depth: float32 (1, H, W): metres; near shapes are bright and hide far ones.
        hue: float32 (1, H, W): angle of the colour in radians, NaN on the grey background. Every
            fourth image was not labelled for it: its key is missing.
    """

    def __init__(self, split: str, num_images: int = 160, size: int = 64, seed: int = 0) -> None:
        self.num_images = num_images if split == "train" else max(8, num_images // 5)
        self.size, self.seed = size, (seed, SPLITS[split])

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        if not 0 <= index < self.num_images:
            raise IndexError(index)
        rng = np.random.default_rng([*self.seed, index])
        side = self.size
        y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
        image = np.full((3, side, side), rng.uniform(0.3, 0.6), np.float32)
        shape = np.zeros((side, side), np.int64)
        outline = np.zeros((1, side, side), np.float32)
        depth = np.full((1, side, side), 6.0, np.float32)
        hue = np.full((1, side, side), np.nan, np.float32)
        for metres in sorted(rng.uniform(1, 5, size=rng.integers(3, 6)), reverse=True):
            kind = int(rng.integers(1, 4))
            inside = signed_distance(kind, x, y, rng, radius=0.35 / np.sqrt(metres))
            angle = rng.uniform(0, 1)
            colour = colorsys.hsv_to_rgb(angle, 0.8, 1.1 - 0.18 * metres)
            mask = inside > 0
            image[:, mask] = np.array(colour, np.float32)[:, None]
            shape[mask] = kind
            outline[0, mask] = inside[mask] < 1.5 / side
            depth[0, mask] = metres
            hue[0, mask] = 2 * np.pi * angle
        image = np.clip(image + rng.normal(0, 0.03, image.shape), 0, 1).astype(np.float32)
        targets = {"shape": shape, "outline": outline, "depth": depth, "hue": hue}
        if index % 4 == 3:
            del targets["hue"]
        return torch.from_numpy(image), {k: torch.from_numpy(v) for k, v in targets.items()}


def signed_distance(
    kind: int, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, radius: float
) -> np.ndarray:
    """Return how far each pixel lies inside of a shape; negative outside."""
    x, y = x - rng.uniform(0.1, 0.9), y - rng.uniform(0.1, 0.9)
    if kind == 1:
        return radius - np.hypot(x, y)
    if kind == 2:
        return 0.85 * radius - np.maximum(abs(x), abs(y))
    return 0.6 * radius - np.maximum(0.87 * abs(x) - 0.5 * y, y)
