"""NYUv2 from the authors' own file, with 13 or 40 classes, depth and computed normals."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from compactmtl.data.checks import check_split
from compactmtl.data.depth_normals import Camera, normals_from_depth
from compactmtl.data.folder import data_folder
from compactmtl.data.nyuv2_classes import class_names
from compactmtl.data.nyuv2_file import LABELLED, SPLITS, LabelledFile, read_mapping, read_split
from compactmtl.data.resample import nearest, resized_image
from compactmtl.data.scene_augment import augmented
from compactmtl.data.scene_tasks import check_scene_tasks, scene_tasks
from compactmtl.data.splits import check_val_share, training_part
from compactmtl.errors import DataError
from compactmtl.multitask.task import Task

CAMERA = Camera(518.857901, 519.469611, 324.582449, 252.736166)
"""The colour camera, onto which the depth is projected: the authors' toolbox, less its 1 for the
first pixel."""
CAMERA_SIZE = (480, 640)


class NyuV2Mat:
    """Indoor scenes of NYUv2 from ``nyu_depth_v2_labeled.mat``.

    Read from ``<root>/<folder>/``: ``nyu_depth_v2_labeled.mat``, ``splits.mat`` and
    ``classMapping40.mat``, for 13 classes also ``class13Mapping.mat``. The depth is the one that
    the authors filled in. Normals are not in the file: they are computed from the depth at full
    size (``depth_normals``), which takes about 0.2 s, so give the loader workers; without
    "normals" in ``tasks`` they are not. Images are averaged to the size asked for, all else takes
    the nearest pixel.

    Terms: Silberman et al. (2012), Indoor Segmentation and Support Inference from RGBD Images; for
    research.

    Args:
        split: "train", "val" or "test"; "val" is taken from the published training images.
        root: Folder of data sets; None: the environment's ``COMPACTMTL_DATA``.
        folder: Its folder in there.
        num_classes: 13 or 40.
        tasks: Which of seg, depth and normals to read.
        size: Height and width.
        val_share: As for ``NyuV2``; with 0 "val" is "test".
        augment: Zoom by 1, 1.2 or 1.5 and mirror, "train" only.

    Shape:
        image: (3, H, W) float32 in 0 to 1, RGB.
        seg: (H, W) int64, -1 without a label.
        depth: (1, H, W) float32 metres, 0 not known.
        normals: (3, H, W) float32, unit, towards the camera; x right, y down, z forward; zero not
            known.

    Raises:
        DataError: No data folder was named, or files do not belong together.
        MissingFileError: A file is not there.
        CorruptFileError: A file is damaged, or has another form.
        MissingExtraError: h5py or scipy is not installed.
    """

    name = "nyuv2_mat"

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        root: str | Path | None = None,
        *,
        folder: str = "nyuv2",
        num_classes: Literal[13, 40] = 13,
        tasks: tuple[str, ...] = ("seg", "depth", "normals"),
        size: tuple[int, int] = (288, 384),
        val_share: float = 0.1,
        augment: bool = False,
    ) -> None:
        check_split(self.name, split)
        check_val_share(self.name, val_share)
        check_scene_tasks(self.name, tasks)
        place = data_folder(root) / folder
        self._file = LabelledFile(place / LABELLED)
        is_test = split == "test" or (split == "val" and val_share == 0)
        images = read_split(place / SPLITS, "test" if is_test else "train", self._file.num_images)
        if not is_test:
            images = images[training_part(len(images), split, val_share)]
        self._images = [int(index) for index in images]
        self._classes = read_mapping(place, num_classes)
        self._tasks, self._size = tasks, size
        self.split, self.augment = split, augment and split == "train"

    @staticmethod
    def declared_tasks(
        *,
        num_classes: Literal[13, 40] = 13,
        tasks: tuple[str, ...] = ("seg", "depth", "normals"),
        **_args: object,
    ) -> dict[str, Task]:
        """Return the tasks that these arguments have targets for."""
        return scene_tasks(tasks, class_names(num_classes))

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        number = self._images[index]
        pixels = resized_image(self._file.read("images", number), self._size)
        planes = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        sample = {"image": torch.from_numpy(np.ascontiguousarray(planes))}
        if "seg" in self._tasks:
            sample["seg"] = self._labels(number)
        if "depth" in self._tasks or "normals" in self._tasks:
            depth = self._file.read("depths", number).astype(np.float32)
            if "depth" in self._tasks:
                sample["depth"] = torch.from_numpy(nearest(depth, self._size)[None].copy())
            if "normals" in self._tasks:
                height, width = self._file.size
                camera = CAMERA.scaled(width / CAMERA_SIZE[1], height / CAMERA_SIZE[0])
                normals = nearest(normals_from_depth(depth, camera), self._size)
                sample["normals"] = torch.from_numpy(normals.transpose(2, 0, 1).copy())
        if self.augment:
            sample = augmented(sample)
        return sample.pop("image"), sample

    def _labels(self, number: int) -> Tensor:
        labels = nearest(self._file.read("labels", number), self._size)
        if labels.max() >= len(self._classes):
            raise DataError(
                f"image {number} of `{self._file.path}` has label {labels.max()}, the mapping has "
                f"{len(self._classes) - 1}"
            )
        return torch.from_numpy(self._classes[labels.astype(np.intp)])
