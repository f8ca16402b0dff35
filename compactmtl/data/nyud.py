"""NYUv2 with 40 classes in the layout NYUD_MT, of multi-task papers."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compactmtl.data.arrays import read_array
from compactmtl.data.checks import check_split
from compactmtl.data.folder import data_folder
from compactmtl.data.nyuv2_classes import CLASSES_40
from compactmtl.data.pictures import read_plane, read_rgb
from compactmtl.data.presence import check_files
from compactmtl.data.resample import nearest, resized_image
from compactmtl.data.scene_augment import augmented
from compactmtl.data.scene_tasks import check_scene_tasks, scene_tasks
from compactmtl.data.splits import check_val_share, training_part
from compactmtl.data.text_lines import read_lines
from compactmtl.errors import CorruptFileError, DataError
from compactmtl.multitask.task import Task

FILES = {
    "image": ("images", ".jpg"),
    "seg": ("segmentation", ".png"),
    "depth": ("depth", ".npy"),
    "normals": ("normals", ".npy"),
}
"""Where what a sample holds lies."""


class Nyud:
    """Indoor scenes of NYUv2: 40 classes, depth and normals at 256x256.

    Read from ``<root>/<folder>/``: ``images/{id}.jpg``, ``segmentation/{id}.png`` (0 unlabelled, 1
    to 40), ``depth/{id}.npy`` (metres), ``normals/{id}.npy``, and ``gt_sets/{train,val}.txt`` with
    an id per line. Where there is a ``gt_sets/test.txt`` the three lists are the three splits; else
    the list val is "test", and "val" is taken from the training images.

    Images are averaged to the size asked for, all else takes the nearest pixel, so that no depth is
    mixed across an edge; published code interpolates depth too.

    Terms: Silberman et al. (2012), for research; get it from the authors of ASTMT (Maninis et al.,
    2019).

    Args:
        split: "train", "val" or "test".
        root: Folder of data sets; None: the environment's ``COMPACTMTL_DATA``.
        folder: Its folder in there.
        tasks: Which of seg, depth and normals to read.
        size: Height and width.
        val_share: As for ``NyuV2``, where there is no third list; with 0 "val" is "test".
        augment: Zoom by 1, 1.2 or 1.5 and mirror, "train" only.

    Shape:
        image: (3, H, W) float32 in 0 to 1, RGB.
        seg: (H, W) int64, 0 to 39, -1 without a label.
        depth: (1, H, W) float32 metres, 0 not known.
        normals: (3, H, W) float32, zero not known.

    Raises:
        DataError: No data folder was named, or a label is out of range.
        MissingFileError: A folder or file is not there.
        CorruptFileError: A file is damaged, or has another form.
    """

    name = "nyud"

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        root: str | Path | None = None,
        *,
        folder: str = "NYUD_MT",
        tasks: tuple[str, ...] = ("seg", "depth", "normals"),
        size: tuple[int, int] = (256, 256),
        val_share: float = 0.1,
        augment: bool = False,
    ) -> None:
        check_split(self.name, split)
        check_val_share(self.name, val_share)
        check_scene_tasks(self.name, tasks)
        self._folder = data_folder(root) / folder
        lists = self._folder / "gt_sets"
        if (lists / "test.txt").is_file():
            self._ids = _read_ids(lists / f"{split}.txt")
        elif split == "test" or (split == "val" and val_share == 0):
            self._ids = _read_ids(lists / "val.txt")
        else:
            ids = _read_ids(lists / "train.txt")
            self._ids = [ids[index] for index in training_part(len(ids), split, val_share)]
        for task, (kind, ending) in FILES.items():
            if task == "image" or task in tasks:
                check_files(self._folder / kind, [name + ending for name in self._ids])
        self._tasks, self._size = tasks, size
        self.split, self.augment = split, augment and split == "train"
        if self._ids:
            self[0]  # what is wrong with the files shows now

    @staticmethod
    def declared_tasks(
        *, tasks: tuple[str, ...] = ("seg", "depth", "normals"), **_args: object
    ) -> dict[str, Task]:
        """Return the tasks that these arguments have targets for."""
        return scene_tasks(tasks, CLASSES_40)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        name = self._ids[index]
        pixels = resized_image(read_rgb(self._folder / "images" / f"{name}.jpg"), self._size)
        planes = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        sample = {"image": torch.from_numpy(np.ascontiguousarray(planes))}
        for task, read in (("seg", self._seg), ("depth", self._depth), ("normals", self._normals)):
            if task in self._tasks:
                values = nearest(read(name), self._size)
                values = values if task == "seg" else values.transpose(2, 0, 1)
                sample[task] = torch.from_numpy(np.ascontiguousarray(values))
        if self.augment:
            sample = augmented(sample)
        return sample.pop("image"), sample

    def _seg(self, name: str) -> npt.NDArray[np.int64]:
        path = self._folder / "segmentation" / f"{name}.png"
        labels = read_plane(path).astype(np.int64)
        if labels.max() > len(CLASSES_40):
            raise DataError(
                f"`{path}` has label {labels.max()}, expected 0 (unlabelled) to {len(CLASSES_40)}"
            )
        return labels - 1

    def _depth(self, name: str) -> npt.NDArray[np.float32]:
        path = self._folder / "depth" / f"{name}.npy"
        depth = read_array(path, None)
        depth = depth[..., None] if depth.ndim == 2 else depth
        if depth.shape[2] != 1:
            raise CorruptFileError(
                f"`{path}` has shape {depth.shape}, expected (H, W) or (H, W, 1)"
            )
        return depth

    def _normals(self, name: str) -> npt.NDArray[np.float32]:
        return read_array(self._folder / "normals" / f"{name}.npy", 3)


def _read_ids(path: Path) -> list[str]:
    lines = " ".join(read_lines(path)).split()
    if any("/" in line or line in (".", "..") for line in lines):
        raise DataError(f"`{path}` names a path, expected a file name without ending per line")
    if len(set(lines)) < len(lines):
        twice = next(line for line in lines if lines.count(line) > 1)
        raise DataError(f"`{path}` names image `{twice}` twice")
    return lines
