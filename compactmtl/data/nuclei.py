"""The ``nuclei_128`` pack: microscopy images of cell nuclei."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from compactmtl.data.checks import SPLITS, check_split
from compactmtl.data.folder import data_folder
from compactmtl.data.packs import ArraySpec, check_lengths, read_pack
from compactmtl.errors import DataError
from compactmtl.multitask import make_task
from compactmtl.multitask.task import Task

SIDE = 128

ARRAYS = {
    "images": ArraySpec("uint8", (None, SIDE, SIDE, 3)),
    "instances": ArraySpec("uint16", (None, SIDE, SIDE)),
    "distance": ArraySpec("uint8", (None, SIDE, SIDE)),
    "hv": ArraySpec("int8", (None, SIDE, SIDE, 2)),
    "split": ArraySpec("uint8", (None,)),
}


class Nuclei:
    """Real microscopy images with masks, distance maps and direction fields of nuclei.

    Read from ``<root>/nuclei_128/nuclei_128.npz``. All three targets derive from one annotation, so
    they are strongly correlated: say so beside any result. The split is not an official one.

    Terms: CC0 (public domain). Origin: 2018 Data Science Bowl, stage 1 (BBBC038), corrected
    annotations; Caicedo et al., Nature Methods 2019.

    Args:
        split: "train" (466), "val" (98) or "test" (100).
        root: Folder of data sets; None: the environment's ``COMPACTMTL_DATA``.

    Shape:
        image: (3, 128, 128) float32 in 0 to 1, RGB.
        mask: (1, 128, 128) float32, 1 inside nuclei.
        distance: (1, 128, 128) float32, distance to the nucleus's edge over its largest, 0 to 1;
            0 in the background.
        direction: (2, 128, 128) float32, offset (x, y) from the nucleus's centroid scaled to
            -1..1 per nucleus; NaN (not valid) in the background.

    Raises:
        DataError: No data folder was named, or an array is missing or of another form.
        MissingFileError: The pack is not there.
        CorruptFileError: The pack is damaged.
    """

    def __init__(self, split: str, root: str | Path | None = None) -> None:
        check_split("nuclei_128", split)
        path = data_folder(root) / "nuclei_128" / "nuclei_128.npz"
        arrays = read_pack(path, ARRAYS)
        check_lengths(path, **{name: len(array) for name, array in arrays.items()})
        chosen = np.flatnonzero(arrays["split"] == SPLITS.index(split))
        if chosen.size == 0:
            raise DataError(f"`{path}` has no image of split {split!r}")
        self.split = split
        self._images = arrays["images"][chosen]
        self._inside = arrays["instances"][chosen] > 0
        self._distance = arrays["distance"][chosen]
        self._direction = arrays["hv"][chosen]

    @staticmethod
    def declared_tasks(**_args: object) -> dict[str, Task]:
        """Return the tasks this data set has targets for, whatever its arguments."""
        return {
            "mask": make_task("mask", "binary", {}),
            "distance": make_task(
                "distance", "regression", {"num_channels": 1, "value_range": (0.0, 1.0)}
            ),
            "direction": make_task(
                "direction", "regression", {"num_channels": 2, "value_range": (-1.0, 1.0)}
            ),
        }

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        image = self._images[index].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        inside = self._inside[index]
        direction = self._direction[index].transpose(2, 0, 1).astype(np.float32) / np.float32(127)
        direction = np.where(inside, direction, np.float32(np.nan))
        distance = self._distance[index].astype(np.float32) / np.float32(255)
        targets = {
            "mask": torch.from_numpy(inside.astype(np.float32)[None]),
            "distance": torch.from_numpy(distance[None]),
            "direction": torch.from_numpy(direction),
        }
        return torch.from_numpy(np.ascontiguousarray(image)), targets
