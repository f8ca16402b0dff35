"""CIFAR-100 with its two sets of labels, from the original files."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compactmtl.data.augment import cropped_and_flipped
from compactmtl.data.checks import check_split
from compactmtl.data.folder import data_folder
from compactmtl.data.packs import ArraySpec, check_lengths, read_pack
from compactmtl.data.python_batches import read_python_batch
from compactmtl.errors import CorruptFileError, DataError, UsageError
from compactmtl.multitask import make_task
from compactmtl.multitask.task import Task

SIDE, PLANES = 32, 3 * 32 * 32
NUM_FINE, NUM_COARSE = 100, 20
PADDING = 4

Arrays = dict[str, npt.NDArray[Any]]


class Cifar100:
    """Small photographs with a fine class (100) and a coarse one (20).

    Read from ``<root>/cifar-100-python/``, files ``train`` and ``test``, as they are in the "python
    version" of the original download. Nothing in them is executed.

    Terms: none stated; cite Krizhevsky (2009), Learning Multiple Layers of Features from Tiny
    Images.

    Args:
        split: "train", "val" or "test". "val" is taken from the training images.
        root: Folder of data sets; None: the environment's ``COMPACTMTL_DATA``.
        val_share: Share of the training images that "val" is, every n-th of them.
        augment: Shift by up to 4 pixels and mirror, "train" only.

    Shape:
        image: (3, 32, 32) float32 in 0 to 1, RGB.
        fine: int64 scalar, 0 to 99. coarse: int64 scalar, 0 to 19.

    Raises:
        DataError: No data folder was named, or a label is out of range.
        MissingFileError: A file is not there.
        CorruptFileError: A file is damaged.
        UnsafeFileError: A file would run code.
    """

    name = "cifar100"

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        *,
        val_share: float = 0.1,
        augment: bool = True,
    ) -> None:
        check_split(self.name, split)
        if not 0 < val_share <= 0.5:
            raise UsageError(
                f"data set `{self.name}`: val_share (={val_share}) must be in (0, 0.5]"
            )
        arrays = self._read(data_folder(root), "test" if split == "test" else "train")
        if split != "test":
            is_val = np.arange(len(arrays["images"])) % round(1 / val_share) == 0
            arrays = {name: a[is_val == (split == "val")] for name, a in arrays.items()}
        self.split, self.augment = split, augment and split == "train"
        self._arrays = arrays
        for name, limit in (("fine", NUM_FINE), ("coarse", NUM_COARSE)):
            labels = arrays[name]
            if len(labels) and not (labels.min() >= 0 and labels.max() < limit):
                raise DataError(
                    f"data set `{self.name}`: {name} labels from {labels.min()} to {labels.max()}, "
                    f"expected 0 to {limit - 1}"
                )

    @staticmethod
    def declared_tasks(**_args: object) -> dict[str, Task]:
        """Return the tasks this data set has targets for, whatever its arguments."""
        return {
            "fine": make_task("fine", "classification", {"num_classes": NUM_FINE}),
            "coarse": make_task("coarse", "classification", {"num_classes": NUM_COARSE}),
        }

    def _read(self, folder: Path, part: str) -> Arrays:
        """Return images (N, 32, 32, 3) and labels of the official part "train" or "test"."""
        path = folder / "cifar-100-python" / part
        content = read_python_batch(path)
        try:
            planes = np.asarray(content["data"], dtype=np.uint8)
            labels = {name: np.asarray(content[f"{name}_labels"]) for name in ("fine", "coarse")}
        except (KeyError, ValueError, TypeError) as error:
            raise CorruptFileError(
                f"`{path}` lacks data, fine_labels or coarse_labels: {error}", hint="fetch it again"
            ) from error
        if planes.ndim != 2 or planes.shape[1] != PLANES:
            raise CorruptFileError(f"`{path}`: data is {planes.shape}, expected (N, {PLANES})")
        check_lengths(path, data=len(planes), **{name: len(a) for name, a in labels.items()})
        return {"images": planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), **labels}

    def __len__(self) -> int:
        return len(self._arrays["images"])

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        planes = self._arrays["images"][index].transpose(2, 0, 1).astype(np.float32)
        image = torch.from_numpy(np.ascontiguousarray(planes / np.float32(255)))
        if self.augment:
            image = cropped_and_flipped(image, PADDING)
        targets = {n: torch.tensor(int(self._arrays[n][index])) for n in ("fine", "coarse")}
        return image, targets


class Cifar100Subset(Cifar100):
    """The ``cifar100_subset`` pack: 48 training and 12 test images of each of the 100 classes.

    Scores on it are not CIFAR-100 scores. Arguments, terms and shapes as for ``Cifar100``.
    """

    name = "cifar100_subset"

    def _read(self, folder: Path, part: str) -> Arrays:
        path = folder / self.name / f"{self.name}.npz"
        specs = {f"{part}_images": ArraySpec("uint8", (None, SIDE, SIDE, 3))}
        specs |= {f"{part}_{n}": ArraySpec("uint8", (None,)) for n in ("fine", "coarse")}
        arrays = read_pack(path, specs)
        check_lengths(path, **{name: len(array) for name, array in arrays.items()})
        return {name.removeprefix(f"{part}_"): array for name, array in arrays.items()}
