"""The ``rooms`` data set: random indoor scenes with semantic classes, depth and normals."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from compactmtl.data.checks import check_at_least, check_split
from compactmtl.data.rooms_cache import PART, Progress, Records, RoomsKey, cache_folder, open_cache
from compactmtl.data.rooms_geometry import CLASS_NAMES
from compactmtl.multitask import make_task
from compactmtl.multitask.task import Task


class Rooms:
    """Rendered indoor scenes: no download, any size, the same picture for a seed and index always.

    The first use renders (about 20 ms an image of 96x128 on one core) into a cache; later uses
    read it. Targets are exact up to the cache's quantisation: depth to 1 part in 2000, normals to
    half a degree.

    Args:
        split: "train", "val" or "test"; splits share no scene.
        num_images: Images of the train split.
        height: Image height in pixels, any from 1.
        width: Image width in pixels, any from 1.
        seed: Another seed draws other scenes, at least 0.
        cache: Folder for rendered images; None: see ``rooms_cache.cache_folder``.
        num_eval_images: Images of val and of test; None: a fifth of ``num_images``.
        num_workers: Processes that render a missing cache. From 2 on they are spawned, so a script
            needs its ``if __name__ == "__main__"``.
        progress: Called with (images ready, images wanted) while a missing cache is rendered.

    Shape:
        image: (3, H, W) float32 in 0 to 1, RGB.
        seg: (H, W) int64, one of the 13 ``CLASS_NAMES``; every pixel is valid.
        depth: (1, H, W) float32, metres along the optical axis (z-depth, not distance).
        normals: (3, H, W) float32, unit, in the camera frame: x right, y down, z forward. They
            point towards the camera: (0, 0, -1) on a wall seen frontally, about (0, -1, 0) on
            a floor.

    Raises:
        UsageError: An argument is out of its range.
        WriteError: The cache folder is not writable, or the disk is full.
    """

    stores_things: ClassVar[bool] = False

    def __init__(
        self,
        split: str,
        num_images: int = 1000,
        height: int = 96,
        width: int = 128,
        seed: int = 0,
        cache: str | Path | None = None,
        num_eval_images: int | None = None,
        num_workers: int = 0,
        progress: Progress | None = None,
    ) -> None:
        check_split("rooms", split)
        check_at_least("rooms", 1, num_images=num_images, height=height, width=width)
        check_at_least("rooms", 0, seed=seed, num_workers=num_workers)
        num_eval = max(1, num_images // 5) if num_eval_images is None else num_eval_images
        check_at_least("rooms", 1, num_eval_images=num_eval)
        self.split = split
        self._num_images = num_images if split == "train" else num_eval
        self._key = RoomsKey(split, seed, height, width, things=self.stores_things)
        self._root = cache_folder(cache)
        self._parts: list[Records] | None = open_cache(
            self._root, self._key, self._num_images, num_workers=num_workers, progress=progress
        )

    @staticmethod
    def declared_tasks(**_args: object) -> dict[str, Task]:
        """Return the tasks this data set has targets for, whatever its arguments."""
        return {
            "seg": make_task(
                "seg", "segmentation", {"num_classes": len(CLASS_NAMES), "classes": CLASS_NAMES}
            ),
            "depth": make_task("depth", "depth", {}),
            "normals": make_task("normals", "normals", {}),
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": None}  # a memory map would travel as its whole content

    def __len__(self) -> int:
        return self._num_images

    def record(self, index: int) -> Records:
        """Return one image as the cache holds it, see ``rooms_cache.RoomsKey``.

        Raises:
            IndexError: There is no such image.
        """
        if not -self._num_images <= index < self._num_images:
            raise IndexError(f"image {index} of {self._num_images}")
        if self._parts is None:
            self._parts = open_cache(
                self._root, self._key, self._num_images, num_workers=0, progress=None
            )
        part, place = divmod(index % self._num_images, PART)
        found: Records = self._parts[part][place]
        return found

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        record = self.record(index)
        normals = record["normals"].astype(np.float32).transpose(2, 0, 1)
        normals /= np.sqrt((normals * normals).sum(0, keepdims=True))
        targets = {
            "seg": torch.from_numpy(record["seg"].astype(np.int64)),
            "depth": torch.from_numpy(record["depth"].astype(np.float32)[None]),
            "normals": torch.from_numpy(np.ascontiguousarray(normals)),
        }
        return picture(record), targets


def picture(record: Records) -> Tensor:
    """Return the image of a record."""
    image = record["image"].astype(np.float32).transpose(2, 0, 1) / np.float32(255)
    return torch.from_numpy(np.ascontiguousarray(image))
