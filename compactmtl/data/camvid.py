"""The ``camvid_160x120`` pack: road scenes."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from compactmtl.data.checks import check_split
from compactmtl.data.folder import data_folder
from compactmtl.data.packs import ArraySpec, check_lengths, read_pack
from compactmtl.errors import DataError
from compactmtl.multitask import make_task
from compactmtl.multitask.task import Task

HEIGHT, WIDTH = 120, 160

CLASS_NAMES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)

UNLABELLED = 11


class CamVid:
    """Real road scenes with 11 classes, and the edges between them.

    Read from ``<root>/camvid_160x120/camvid_160x120.npz``; the official SegNet split at a third of
    its size. Neighbouring frames are near-duplicates: never split them at random.

    Terms: CC BY-NC 4.0 (personal and research use; non-commercial; attribute). Brostow et al.,
    "Semantic object classes in video", PRL 2009; Badrinarayanan, Kendall and Cipolla, "SegNet",
    PAMI 2017.

    Args:
        split: "train" (367), "val" (101) or "test" (233).
        root: Folder of data sets; None: the environment's ``COMPACTMTL_DATA``.

    Shape:
        image: (3, 120, 160) float32 in 0 to 1, RGB.
        seg: (120, 160) int64, 0 to 10, -1 where unlabelled.
        edges: (1, 120, 160) float32, 1 where one of the four neighbours has another class; computed
            from ``seg``, so the two are strongly correlated; NaN where unlabelled.

    Raises:
        DataError: No data folder was named, or an array or an image is missing or of another form.
        MissingFileError: The pack is not there.
        CorruptFileError: The pack is damaged.
    """

    def __init__(self, split: str, root: str | Path | None = None) -> None:
        check_split("camvid_160x120", split)
        self._path = data_folder(root) / "camvid_160x120" / "camvid_160x120.npz"
        jpeg, offsets, labels = (
            f"{split}_{part}" for part in ("images_jpeg", "image_offsets", "labels")
        )
        arrays = read_pack(
            self._path,
            {
                jpeg: ArraySpec("uint8", (None,)),
                offsets: ArraySpec("int64", (None,)),
                labels: ArraySpec("uint8", (None, HEIGHT, WIDTH)),
            },
        )
        self.split = split
        self._jpeg, self._offsets, self._labels = arrays[jpeg], arrays[offsets], arrays[labels]
        check_lengths(
            self._path, **{offsets + " - 1": len(self._offsets) - 1, labels: len(self._labels)}
        )
        steps = np.diff(self._offsets)
        if len(steps) == 0 or (steps <= 0).any() or self._offsets[-1] != len(self._jpeg):
            raise DataError(
                f"array `{offsets}` of `{self._path}` does not rise from 0 to the "
                f"{len(self._jpeg)} bytes of `{jpeg}`"
            )
        if int(self._labels.max()) > UNLABELLED:
            raise DataError(
                f"array `{labels}` of `{self._path}` holds {int(self._labels.max())}, "
                f"expected 0 to {UNLABELLED}"
            )

    @staticmethod
    def declared_tasks(**_args: object) -> dict[str, Task]:
        """Return the tasks this data set has targets for, whatever its arguments."""
        return {
            "seg": make_task(
                "seg", "segmentation", {"num_classes": len(CLASS_NAMES), "classes": CLASS_NAMES}
            ),
            "edges": make_task("edges", "binary", {}),
        }

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        labels = self._labels[index]
        edges = np.where(labels == UNLABELLED, np.float32(np.nan), label_edges(labels, UNLABELLED))
        seg = labels.astype(np.int64)
        seg[labels == UNLABELLED] = -1
        image = self._decode(index).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        targets = {
            "seg": torch.from_numpy(seg),
            "edges": torch.from_numpy(edges.astype(np.float32)[None]),
        }
        return torch.from_numpy(np.ascontiguousarray(image)), targets

    def _decode(self, index: int) -> npt.NDArray[np.uint8]:
        index = range(len(self))[index]
        data = self._jpeg[self._offsets[index] : self._offsets[index + 1]].tobytes()
        what = f"image {index} of split {self.split!r} in `{self._path}`"
        try:
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
                pixels = np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise DataError(
                f"{what} is not a JPEG picture: {error}", hint="fetch the pack again"
            ) from error
        if pixels.shape != (HEIGHT, WIDTH, 3):
            raise DataError(f"{what} is {pixels.shape[:2]}, expected {(HEIGHT, WIDTH)}")
        return pixels


def label_edges(labels: npt.NDArray[np.uint8], unlabelled: int) -> npt.NDArray[np.float32]:
    """Return 1 where one of the four neighbours has another class, else 0.

    An unlabelled neighbour says nothing: it makes no edge.

    Shape:
        labels: (H, W)  ->  (H, W) float32
    """
    edges = np.zeros(labels.shape, np.bool_)
    known = labels != unlabelled
    down = (labels[1:] != labels[:-1]) & known[1:] & known[:-1]
    right = (labels[:, 1:] != labels[:, :-1]) & known[:, 1:] & known[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges.astype(np.float32)
