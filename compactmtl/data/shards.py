"""Your own samples in WebDataset's archives: millions of them in a few large files."""

import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compactmtl.data.arrays import read_array
from compactmtl.data.checks import check_split
from compactmtl.data.folder import data_folder
from compactmtl.data.pictures import read_plane, read_rgb
from compactmtl.data.presence import ABOVE
from compactmtl.data.resample import nearest, resized_image
from compactmtl.data.rooms_cache import Progress, cache_folder
from compactmtl.data.shard_index import index_shards
from compactmtl.errors import CorruptFileError, DataError, MissingFileError, RecipeError
from compactmtl.multitask import make_task
from compactmtl.multitask.task import Task

FILE, VOID = "file", "void"
IMAGE = "jpg|jpeg|png"


class Shards:
    """Samples in plain tar archives, as WebDataset writes them; any is read directly.

    Read from ``<root>/<folder>/{split}-*.tar`` or ``<root>/<folder>/{split}/*.tar``. Nothing is
    unpickled. A sample that lacks a task's file is not labelled for it.

    Args:
        split: "train", "val" or "test".
        root: Folder of data sets; None: the environment's ``COMPACTMTL_DATA``.
        tasks: Per task its ``kind``, the arguments of that kind, and ``file``, its file's name from
            the first dot on: .png or .npy for labels (in .png ``void``, 255 unless given, is no
            label), .png for masks, .npy for depth, normals and fields, .cls (a number) for classes
            of images.
        folder: Its folder in there.
        image: The same of the image; ``a|b`` is either.
        size: Height and width of everything: images are averaged, all else takes the nearest pixel.
        cache: Folder for the index; None: as for ``rooms``.
        progress: Called with (archives read, archives) while the index is made.

    Shape:
        image: (3, H, W) float32 in 0 to 1, RGB; targets as their kinds say.

    Raises:
        RecipeError: A task without a file.
        DataError: No data folder was named, or a sample without an image.
        MissingFileError: There is no archive of the split.
        CorruptFileError: An archive or a file in one is damaged.
    """

    name = "shards"

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        *,
        tasks: dict[str, dict[str, Any]],
        folder: str = "shards",
        image: str = IMAGE,
        size: tuple[int, int] | None = None,
        cache: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        check_split(self.name, split)
        self._tasks = self.declared_tasks(tasks=tasks)
        self._voids = {name: int(args.get(VOID, 255)) for name, args in tasks.items()}
        self._files = {name: str(args[FILE]) for name, args in tasks.items()}
        place = data_folder(root) / folder
        shards = sorted(place.glob(f"{split}-*.tar")) or sorted((place / split).glob("*.tar"))
        if not shards:
            raise MissingFileError(
                f"no archive `{place}/{split}-*.tar` or `{place}/{split}/*.tar`", hint=ABOVE
            )
        wanted = [image, *self._files.values()]
        kept = cache_folder(cache) / "shards"
        self._index = index_shards(shards, wanted, kept, progress=progress)
        self._size, self.split = size, split
        if len(self._index):
            self[0]  # what is wrong with the files shows now

    @staticmethod
    def declared_tasks(
        *, tasks: Mapping[str, Mapping[str, Any]] | None = None, **_args: object
    ) -> dict[str, Task]:
        """Return the tasks that these arguments have targets for."""
        made = {}
        for name, args in (tasks or {}).items():
            if FILE not in args or "kind" not in args:
                raise RecipeError(
                    f"data set `shards`: task `{name}` needs `kind` and `file`, got "
                    f"{', '.join(args) or 'nothing'}",
                    hint='data.args.tasks.seg = { kind = "segmentation", num_classes = 3, '
                    'file = "seg.png" }',
                )
            rest = {k: v for k, v in args.items() if k not in (FILE, VOID, "kind")}
            made[name] = make_task(name, str(args["kind"]), rest)
        return made

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        index = range(len(self))[index]
        shard = self._index.shards[int(self._index.shard[index])]
        content, *others = self._index.read(index)
        if content is None:
            raise DataError(f"sample {index}, in `{shard}`: it has no image")
        where = partial(_named, shard, index)
        pixels = read_rgb(where("image"), io.BytesIO(content))
        pixels = pixels if self._size is None else resized_image(pixels, self._size)
        planes = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        targets = {}
        for (name, file), found in zip(self._files.items(), others, strict=True):
            if found is not None:
                targets[name] = self._target(name, file, found, where(file))
        return torch.from_numpy(np.ascontiguousarray(planes)), targets

    def _target(self, name: str, file: str, content: bytes, where: Path) -> Tensor:
        task, end = self._tasks[name], file.rpartition(".")[2].lower()
        if not task.per_pixel:
            try:
                return torch.tensor(int(content))
            except ValueError as error:
                raise CorruptFileError(f"`{where}`: {content[:20]!r} is no number") from error
        is_labels = task.kind == "segmentation"
        values: npt.NDArray[Any]
        if end == "png":
            values = read_plane(where, io.BytesIO(content))
            if is_labels:
                values = np.where(values == self._voids[name], -1, values.astype(np.int64))
            else:
                values = (values > 0).astype(np.float32)
        else:
            values = read_array(where, None, io.BytesIO(content))
            values = np.rint(values).astype(np.int64) if is_labels else values
        values = values if self._size is None else nearest(values, self._size)
        if not is_labels:
            values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(values))


def _named(shard: Path, index: int, file: str) -> Path:
    """Return how a file in an archive is called in messages."""
    return shard / f"sample {index}: {file}"
