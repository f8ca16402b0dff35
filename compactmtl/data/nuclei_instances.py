"""The ``nuclei_128`` pack, nucleus by nucleus: instances and panoptic maps."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from compactmtl.data.checks import SPLITS, check_split
from compactmtl.data.folder import data_folder
from compactmtl.data.nuclei import ARRAYS
from compactmtl.data.packs import check_lengths, read_pack
from compactmtl.errors import DataError
from compactmtl.multitask import make_task
from compactmtl.multitask.instances import Things, boxes_of, things
from compactmtl.multitask.segments import segment_id
from compactmtl.multitask.task import Task

MOST = 400
"""More nuclei than any image holds (332): AP counts them all, not COCO's 100."""


class NucleiInstances:
    """Real microscopy images with one mask per nucleus; the images and the split of ``Nuclei``.

    Read from ``<root>/nuclei_128/nuclei_128.npz``; origin and terms as for ``Nuclei``.

    Args:
        split: "train" (466), "val" (98) or "test" (100).
        root: Folder of data sets; None: the environment's ``COMPACTMTL_DATA``.

    Shape:
        image: (3, 128, 128) float32 in 0 to 1, RGB.
        instances: Boxes, labels and masks of the nuclei, see ``compactmtl.multitask.instances``.
        semantic: (128, 128) int64, 0 nucleus, 1 background.
        panoptic: (128, 128) int64, ids of ``compactmtl.multitask.segments``: nuclei are things of
            class 0, the background is stuff of class 1.

    Raises:
        DataError: As for ``Nuclei``.
        MissingFileError: The pack is not there.
        CorruptFileError: The pack is damaged.
    """

    def __init__(self, split: str, root: str | Path | None = None) -> None:
        check_split("nuclei_instances", split)
        path = data_folder(root) / "nuclei_128" / "nuclei_128.npz"
        arrays = read_pack(path, {name: ARRAYS[name] for name in ("images", "instances", "split")})
        check_lengths(path, **{name: len(array) for name, array in arrays.items()})
        chosen = np.flatnonzero(arrays["split"] == SPLITS.index(split))
        if chosen.size == 0:
            raise DataError(f"`{path}` has no image of split {split!r}")
        self.split = split
        self._images = arrays["images"][chosen]
        self._instances = arrays["instances"][chosen]

    @staticmethod
    def declared_tasks(**_args: object) -> dict[str, Task]:
        """Return the tasks this data set has targets for, whatever its arguments."""
        names = ("nucleus", "background")
        return {
            "instances": make_task(
                "instances",
                "instances",
                {"num_classes": 1, "classes": names[:1], "max_detections": MOST},
            ),
            "semantic": make_task("semantic", "segmentation", {"num_classes": 2, "classes": names}),
            "panoptic": make_task(
                "panoptic", "panoptic", {"num_things": 1, "num_stuff": 1, "classes": names}
            ),
        }

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor | Things]]:
        image = self._images[index].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        numbers = torch.from_numpy(self._instances[index].astype(np.int64))
        inside = numbers > 0
        masks = numbers == torch.unique(numbers[inside])[:, None, None]
        labels = torch.zeros(len(masks), dtype=torch.int64)
        targets: dict[str, Tensor | Things] = {
            "instances": things(boxes_of(masks), labels, masks),
            "semantic": (~inside).long(),
            "panoptic": segment_id((~inside).long(), numbers),
        }
        return torch.from_numpy(np.ascontiguousarray(image)), targets
