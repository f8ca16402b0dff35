"""CelebAMask-HQ: faces with hair and skin, and attributes such as male and smiling."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from compactmtl.data.celebamask_files import (
    ATTRIBUTES,
    IMAGES,
    MAPPING,
    MASKS,
    official_split,
    read_attributes,
    read_masks,
    read_originals,
    seeded_split,
)
from compactmtl.data.checks import check_at_least, check_split
from compactmtl.data.folder import data_folder
from compactmtl.data.pictures import read_rgb
from compactmtl.data.presence import check_files
from compactmtl.data.resample import nearest, resized_image
from compactmtl.errors import DataError, MissingFileError, UsageError
from compactmtl.multitask import make_task
from compactmtl.multitask.task import Task

CLASSES = ("background", "hair", "skin")


class CelebAMaskHq:
    """Faces: background, hair and skin per pixel, and attributes per image.

    Read from ``<root>/<folder>/``: ``CelebA-HQ-img/{k}.jpg``,
    ``CelebAMask-HQ-mask-anno/{k // 2000}/{k:05d}_{part}.png`` (only parts that are there have a
    file), ``CelebAMask-HQ-attribute-anno.txt``, and for the official split
    ``CelebA-HQ-to-CelebA-mapping.txt``. Skin is the part "skin" as far as no other is painted over
    it: nose, eyes, ears and mouth are background, unless ``merge_face``. An image without any mask
    lacks ``seg``.

    Terms: non-commercial research; Lee et al. (2020), MaskGAN. Faces of people: mind what else the
    law asks of you.

    Args:
        split: "train", "val" or "test".
        root: Folder of data sets; None: the environment's ``COMPACTMTL_DATA``.
        folder: Its folder in there.
        attributes: Names in the attribute file; each is a task, in small letters.
        masks: Whether to read the masks: the task ``seg``.
        merge_face: Count nose, eyes, brows, ears, mouth and lips as skin.
        partition: ``official``: that of CelebA, by each image's original. ``seeded``: at random.
        shares: Of train, val and test, for ``seeded``; 60, 20 and 20 % in paper B.
        seed: Of that split.
        size: Height and width.

    Shape:
        image: (3, H, W) float32 in 0 to 1, RGB.
        seg: (H, W) int64: 0 background, 1 hair, 2 skin.
        each attribute: int64 scalar, 1 where the image has it.

    Raises:
        UsageError: Attributes named twice, or shares that are none.
        DataError: No data folder was named, or files do not belong together.
        MissingFileError: A folder or file is not there.
        CorruptFileError: A file is damaged, or has another form.
    """

    name = "celebamask_hq"

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        root: str | Path | None = None,
        *,
        folder: str = "CelebAMask-HQ",
        attributes: tuple[str, ...] = ("Male", "Smiling"),
        masks: bool = True,
        merge_face: bool = False,
        partition: Literal["official", "seeded"] = "official",
        shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
        seed: int = 0,
        size: tuple[int, int] = (256, 256),
    ) -> None:
        check_split(self.name, split)
        check_at_least(self.name, 0, seed=seed)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise UsageError(f"data set `{self.name}`: shares (={list(shares)}) must add up to 1")
        self.declared_tasks(attributes=attributes, masks=masks)
        place = data_folder(root) / folder
        self._images = place / IMAGES
        self._masks = next((place / name for name in MASKS if (place / name).is_dir()), None)
        if masks and self._masks is None:
            raise MissingFileError(
                f"no such folder: `{place / MASKS[0]}`",
                hint="without masks: data.args.masks = false",
            )
        values = read_attributes(place / ATTRIBUTES, attributes)
        if partition == "official":
            originals = read_originals(place / MAPPING)
            absent = next((image for image in values if image not in originals), None)
            if absent is not None:
                raise DataError(f"`{place / MAPPING}` has no line for image {absent}")
            chosen = [i for i in sorted(values) if official_split(originals[i]) == split]
        else:
            chosen = seeded_split(list(values), shares, seed)[split]
        check_files(self._images, [f"{image}.jpg" for image in chosen])
        self._numbers = chosen
        self._values = [values[image] for image in chosen]
        self._names = tuple(name.lower() for name in attributes)
        self._reads_masks, self._merge_face, self._size = masks, merge_face, size
        self.split = split
        if chosen:
            self[0]  # what is wrong with the files shows now

    @staticmethod
    def declared_tasks(
        *, attributes: tuple[str, ...] = ("Male", "Smiling"), masks: bool = True, **_args: object
    ) -> dict[str, Task]:
        """Return the tasks that these arguments have targets for."""
        tasks: dict[str, Task] = {}
        if masks:
            args = {"num_classes": len(CLASSES), "classes": CLASSES}
            tasks["seg"] = make_task("seg", "segmentation", args)
        for attribute in attributes:
            name = attribute.lower()
            if name in tasks:
                raise UsageError(f"data set `celebamask_hq`: task `{name}` is named twice")
            args = {"num_classes": 2, "classes": (f"not {name}", name)}
            tasks[name] = make_task(name, "classification", args)
        if not tasks:
            raise UsageError(
                "data set `celebamask_hq`: no attributes and no masks: no task is left"
            )
        return tasks

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        number = self._numbers[index]
        pixels = resized_image(read_rgb(self._images / f"{number}.jpg"), self._size)
        planes = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        targets = {}
        if self._reads_masks and self._masks is not None:
            classes = read_masks(self._masks, number, merge_face=self._merge_face)
            if classes is not None:
                targets["seg"] = torch.from_numpy(nearest(classes, self._size).astype(np.int64))
        for name, value in zip(self._names, self._values[index], strict=True):
            targets[name] = torch.tensor(value)
        return torch.from_numpy(np.ascontiguousarray(planes)), targets
