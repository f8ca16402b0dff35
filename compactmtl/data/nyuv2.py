"""NYUv2 with segmentation, depth and normals, as .npy files in the layout of MTAN's authors."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compactmtl.data.arrays import read_array
from compactmtl.data.checks import check_split
from compactmtl.data.folder import data_folder
from compactmtl.data.nyuv2_classes import CLASSES_13
from compactmtl.data.presence import ABOVE, check_files
from compactmtl.data.scene_augment import augmented
from compactmtl.data.splits import check_val_share, training_part
from compactmtl.errors import CorruptFileError, DataError, MissingFileError
from compactmtl.multitask import make_task
from compactmtl.multitask.task import Task

KINDS = {"image": "image", "seg": "label", "depth": "depth", "normals": "normal"}
"""What a sample holds, and the folder it lies in."""
CHANNELS = {"image": 3, "label": 0, "depth": 1, "normal": 3}
"""Size of the last axis; 0: there is none."""


class NyuV2:
    """Indoor scenes of NYUv2: 13 classes, depth and normals at 288x384.

    Read from ``<root>/<folder>/{train,val}/{image,label,depth,normal}/{i}.npy``: images in 0 to 1,
    labels with -1 where there is none, depth in metres with 0, normals with zero vectors where
    they are not known. The published split has no validation images: "val" is taken from the
    training images, and "test" is the folder called val.

    Terms: Silberman et al. (2012), for research; get it from the authors, or as prepared by the
    authors of MTAN (Liu et al., 2019), whose repository links it.

    Args:
        split: "train", "val" or "test".
        root: Folder of data sets; None: the environment's ``COMPACTMTL_DATA``.
        folder: Its folder in there.
        val_share: Share of the training images that "val" is, every n-th of them. With 0 "val" is
            "test", as in published code: whoever then chooses an epoch by it chooses on the test.
        augment: Zoom by 1, 1.2 or 1.5 and mirror, "train" only.

    Shape:
        image: (3, H, W) float32 in 0 to 1, RGB.
        seg: (H, W) int64, 0 to 12, -1 without a label.
        depth: (1, H, W) float32 metres, 0 not known.
        normals: (3, H, W) float32, zero not known.

    Raises:
        DataError: No data folder was named, or files do not belong together.
        MissingFileError: A folder or file is not there.
        CorruptFileError: A file is damaged, or has another form.
    """

    name = "nyuv2"

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        root: str | Path | None = None,
        *,
        folder: str = "nyuv2",
        val_share: float = 0.1,
        augment: bool = False,
    ) -> None:
        check_split(self.name, split)
        check_val_share(self.name, val_share)
        is_test = split == "test" or (split == "val" and val_share == 0)
        self._folder = data_folder(root) / folder / ("val" if is_test else "train")
        number = _count(self._folder)
        for kind in KINDS.values():
            check_files(self._folder / kind, [f"{index}.npy" for index in range(number)])
        self.split, self.augment = split, augment and split == "train"
        self._indices = list(range(number)) if is_test else training_part(number, split, val_share)
        if self._indices:
            self[0]  # what is wrong with the files shows now

    @staticmethod
    def declared_tasks(**_args: object) -> dict[str, Task]:
        """Return the tasks this data set has targets for, whatever its arguments."""
        return {
            "seg": make_task(
                "seg", "segmentation", {"num_classes": len(CLASSES_13), "classes": CLASSES_13}
            ),
            "depth": make_task("depth", "depth", {}),
            "normals": make_task("normals", "normals", {}),
        }

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        number = self._indices[index]
        arrays = {name: self._read(kind, number) for name, kind in KINDS.items()}
        sizes = {name: array.shape[:2] for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise DataError(
                f"`{self._folder}`: sample {number} has sizes "
                + ", ".join(f"{name} {size[0]}x{size[1]}" for name, size in sizes.items())
            )
        label = np.rint(arrays["seg"]).astype(np.int64)
        if label.max() >= len(CLASSES_13):
            raise DataError(
                f"`{self._folder / 'label' / f'{number}.npy'}` has label {label.max()}, expected "
                f"-1 to {len(CLASSES_13) - 1}"
            )
        planes = {
            name: torch.from_numpy(np.ascontiguousarray(arrays[name].transpose(2, 0, 1)))
            for name in ("image", "depth", "normals")
        }
        sample = {"seg": torch.from_numpy(label).clamp(min=-1), **planes}
        if self.augment:
            sample = augmented(sample)
        return sample.pop("image"), sample

    def _read(self, kind: str, number: int) -> npt.NDArray[np.float32]:
        path = self._folder / kind / f"{number}.npy"
        array = read_array(path, CHANNELS[kind])
        if kind == "image" and array.max(initial=0.0) > 1.5:
            raise CorruptFileError(
                f"`{path}` has values up to {array.max():g}, expected 0 to 1",
                hint="divide images by 255",
            )
        return array


def _count(folder: Path) -> int:
    """Return how many samples a split has: the images that are there."""
    images = folder / "image"
    if not images.is_dir():
        raise MissingFileError(
            f"no such folder: `{images}`",
            hint=ABOVE,
        )
    return sum(1 for _ in images.glob("*.npy"))
