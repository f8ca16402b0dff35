"""COCO 2017, or data in its form: things one by one, and panoptic maps."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from compactmtl.data.augment import mirrored
from compactmtl.data.checks import check_at_least, check_split
from compactmtl.data.coco_annotations import CocoImage, read_annotations
from compactmtl.data.coco_classes import STUFF, THINGS
from compactmtl.data.coco_masks import decode_mask
from compactmtl.data.folder import data_folder
from compactmtl.errors import DataError, MissingFileError, UsageError
from compactmtl.multitask import make_task
from compactmtl.multitask.instances import Things, things
from compactmtl.multitask.segments import CROWD, VOID, class_of, segment_id
from compactmtl.multitask.task import Task

YEAR = "2017"
SCALES = (640 / 800, 672 / 800, 704 / 800, 736 / 800, 768 / 800, 1.0)
"""Of training images, against the full size: short sides of 640 to 800 pixels."""


class Coco:
    """Photographs with things and stuff, in COCO's own layout.

    Read from ``<root>/<folder>``: ``annotations/instances_{split}2017.json``,
    ``annotations/panoptic_{split}2017.json``, ``annotations/panoptic_{split}2017/*.png`` and
    ``{split}2017/*.jpg``. Nothing else is made or written: the stuff map comes from the panoptic
    one. Nothing is downloaded either.

    Terms: annotations CC BY 4.0; each image has terms of its own. Lin et al., Microsoft COCO, ECCV
    2014; Kirillov et al., Panoptic Segmentation, CVPR 2019.

    Args:
        split: "train" or "val"; "test" is "val" too, as the labels of COCO's test images are not
            public and published figures are of val.
        root: Folder of data sets; None: the environment's ``COMPACTMTL_DATA``.
        folder: The data set's folder in it.
        height: Image height in pixels. Images are scaled to fit into height x width, with zeros
            right and below, which no target counts. AP and PQ are then those at this size.
        width: Image width in pixels. None, with the height: every image in its own size, one per
            batch, as COCO's published figures are measured.
        things: The classes of things, as the files call them; their ids may have gaps.
        stuff: The classes of stuff, likewise.
        skip_degenerate: Leave out annotations whose box has no area (COCO has some) instead of
            refusing them.
        augment: Of the training split, mirror half of the images, and scale each by one of
            ``SCALES``, as published; images in their own size are mirrored only.

    Shape:
        image: (3, H, W) float32 in 0 to 1, RGB.
        instances: Boxes, labels and masks, see ``compactmtl.multitask.instances``; crowds are
            marked. A thing too small to keep a pixel at this size is left out.
        semantic: (H, W) int64, 0 any thing, from 1 the classes of stuff, -1 unlabelled.
        panoptic: (H, W) int64, ids of ``compactmtl.multitask.segments``, crowds marked.

    Raises:
        UsageError: A split without labels, or only one of height and width.
        DataError: Files contradict each other, see ``read_annotations``; while iterating: an image
            or a map of another size than stated, or a map with an id that is not listed.
        MissingFileError: A file or a folder is not there.
        CorruptFileError: An annotation file is not of COCO's form.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        folder: str = "coco",
        height: int | None = None,
        width: int | None = None,
        things: tuple[str, ...] = THINGS,
        stuff: tuple[str, ...] = STUFF,
        skip_degenerate: bool = False,
        augment: bool = False,
    ) -> None:
        check_split("coco", split)
        self._augments = augment and split == "train"
        split = "val" if split == "test" else split
        if (height is None) != (width is None):
            raise UsageError(f"data set `coco`: height is {height}, width is {width}: give both")
        if height is not None:
            check_at_least("coco", 1, height=height, width=width)
        self._size = None if height is None or width is None else (height, width)
        self._num_things = len(things)
        base = data_folder(root) / folder
        self._photos = base / f"{split}{YEAR}"
        self._maps = base / "annotations" / f"panoptic_{split}{YEAR}"
        for place in (base, base / "annotations", self._photos, self._maps):
            if not place.is_dir():
                raise MissingFileError(
                    f"no such folder: `{place}`",
                    hint="the data set `coco` reads COCO's own layout: see its description",
                )
        self._images = read_annotations(
            base / "annotations" / f"instances_{split}{YEAR}.json",
            base / "annotations" / f"panoptic_{split}{YEAR}.json",
            things,
            stuff,
            skip_degenerate=skip_degenerate,
        )

    @staticmethod
    def declared_tasks(
        things: tuple[str, ...] = THINGS, stuff: tuple[str, ...] = STUFF, **_args: object
    ) -> dict[str, Task]:
        """Return the tasks this data set has targets for, with these classes."""
        return {
            "instances": make_task(
                "instances", "instances", {"num_classes": len(things), "classes": things}
            ),
            "semantic": make_task(
                "semantic",
                "segmentation",
                {"num_classes": len(stuff) + 1, "classes": ("thing", *stuff)},
            ),
            "panoptic": make_task(
                "panoptic",
                "panoptic",
                {"num_things": len(things), "num_stuff": len(stuff), "classes": (*things, *stuff)},
            ),
        }

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor | Things]]:
        entry = self._images[index]
        scales = SCALES if self._augments and self._size is not None else SCALES[-1:]
        drawn = int(torch.randint(len(scales), ())) if len(scales) > 1 else 0
        view = _View(entry.height, entry.width, self._size, scales[drawn])
        path = self._photos / entry.file_name
        image = view.photo(_opened(path, (entry.height, entry.width)))
        targets: dict[str, Tensor | Things] = {"instances": self._things(entry, view)}
        if entry.png is not None:
            panoptic = torch.from_numpy(view.labels(self._panoptic(entry), VOID))
            targets["semantic"] = self._semantic(panoptic)
            targets["panoptic"] = panoptic
        if self._augments and bool(torch.rand(()) < 0.5):
            return mirrored(torch.from_numpy(image), targets)
        return torch.from_numpy(image), targets

    def _things(self, entry: CocoImage, view: "_View") -> Things:
        kept, masks = [], []
        for thing in entry.things:
            what = f"annotation {thing['id']} (image `{entry.file_name}`)"
            mask = decode_mask(thing["segmentation"], entry.height, entry.width, what)
            seen = view.labels(mask, False)
            if seen.any():
                kept.append(thing)
                masks.append(seen)
        boxes = torch.tensor([thing["box"] for thing in kept]).reshape(-1, 4) * view.scale
        return things(
            boxes,
            torch.tensor([thing["class"] for thing in kept], dtype=torch.int64),
            torch.from_numpy(np.array(masks, dtype=np.bool_).reshape(-1, *view.size)),
            crowd=torch.tensor([thing["crowd"] for thing in kept], dtype=torch.bool),
        )

    def _panoptic(self, entry: CocoImage) -> npt.NDArray[np.int64]:
        """Return the map of one image as ids of ``segments``, things numbered as they come."""
        assert entry.png is not None
        path = self._maps / entry.png
        colours = _opened(path, (entry.height, entry.width)).astype(np.int64)
        ids, places = np.unique(colours @ np.array([1, 256, 65536]), return_inverse=True)
        ours = np.full(len(ids), VOID)
        for place, its_id in enumerate(ids.tolist()):
            if its_id == 0:
                continue
            if its_id not in entry.segments:
                raise DataError(
                    f"`{path}` has a segment {its_id}, which its annotation does not list",
                    hint="do the maps and panoptic_*.json belong together?",
                )
            its_class, crowd = entry.segments[its_id]
            is_thing = its_class < self._num_things
            number = place + 1 if is_thing else 0
            ours[place] = CROWD - its_class if crowd else int(segment_id(its_class, number))
        found: npt.NDArray[np.int64] = ours[places].reshape(entry.height, entry.width)
        return found

    def _semantic(self, panoptic: Tensor) -> Tensor:
        """Return 0 for things, crowds of them included, and from 1 on the classes of stuff."""
        its_class = torch.where(panoptic <= CROWD, CROWD - panoptic, class_of(panoptic))
        return torch.where(panoptic == VOID, -1, (its_class - self._num_things + 1).clamp(min=0))


class _View:
    """How an image is seen: in its own size, or scaled into another with a margin."""

    def __init__(
        self, height: int, width: int, size: tuple[int, int] | None, scale: float = 1.0
    ) -> None:
        self.size = size or (height, width)
        self.scale = scale * min(self.size[0] / height, self.size[1] / width)
        self._inner = tuple(
            max(1, min(side, round(own * self.scale)))
            for side, own in zip(self.size, (height, width), strict=True)
        )
        self._picked = [
            ((np.arange(new) + 0.5) * own / new).astype(np.int64)
            for new, own in zip(self._inner, (height, width), strict=True)
        ]

    def photo(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return an image (H, W, 3) as (3, H, W) in 0 to 1."""
        high, wide = self._inner
        if pixels.shape[:2] != self._inner:
            picture = Image.fromarray(pixels).resize((wide, high), Image.Resampling.BILINEAR)
            pixels = np.asarray(picture)
        seen = np.zeros((3, *self.size), np.float32)
        seen[:, :high, :wide] = pixels.transpose(2, 0, 1) / np.float32(255)
        return seen

    def labels(self, values: npt.NDArray[Any], margin: int | bool) -> npt.NDArray[Any]:
        """Return labels (H, W) at the nearest pixel."""
        high, wide = self._inner
        seen = np.full(self.size, margin, values.dtype)
        seen[:high, :wide] = values[np.ix_(*self._picked)]
        return seen


def _opened(path: Path, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a picture as RGB (H, W, 3)."""
    try:
        with Image.open(path, formats=["JPEG", "PNG"]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no such file: `{path}`, which the annotations name", hint="fetch the images again"
        ) from error
    except OSError as error:  # an empty file too
        raise DataError(f"`{path}` is no picture: {error}", hint="fetch it again") from error
    if pixels.shape[:2] != size:
        raise DataError(
            f"`{path}` is {pixels.shape[:2]} (height, width), its annotation says {size}"
        )
    return pixels
