"""The official files of NYUv2: images, depth and labels in HDF5, and the .mat files beside it."""

import importlib
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from compactmtl.data.nyuv2_classes import SAME_EVERYWHERE, class_names
from compactmtl.errors import CorruptFileError, DataError, MissingExtraError, MissingFileError

LABELLED, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
MAPPING_40, MAPPING_13 = "classMapping40.mat", "class13Mapping.mat"
META = "github.com/ankurhanda/nyuv2-meta-data"
"""Where the class mappings are published."""

Ints = npt.NDArray[np.int64]
AXES = {"images": 4, "depths": 3, "labels": 3}
"""Arrays of the labelled file and how many axes they have; MATLAB's order, so W before H."""


class LabelledFile:
    """``nyu_depth_v2_labeled.mat``; every process opens it for itself.

    Args:
        path: The file (HDF5, which is MATLAB's format 7.3).

    Raises:
        MissingFileError: It is not there.
        MissingExtraError: h5py is not installed.
        CorruptFileError: It is damaged, or its arrays have another form.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, Any] | None = None
        shapes = {name: array.shape for name, array in self._arrays().items()}
        for name, axes in AXES.items():
            if len(shapes[name]) != axes or shapes[name][0] != shapes["images"][0]:
                raise CorruptFileError(
                    f"`{path}`: `{name}` has shape {shapes[name]}, expected {axes} axes, the first "
                    f"as long as that of images {shapes['images']}"
                )
        self.num_images = int(shapes["images"][0])
        self.size = (int(shapes["images"][3]), int(shapes["images"][2]))
        for name in ("depths", "labels"):
            if tuple(shapes[name][1:]) != self.size[::-1]:
                raise CorruptFileError(
                    f"`{path}`: `{name}` has shape {shapes[name]}, expected (N, {self.size[1]}, "
                    f"{self.size[0]}) as the images"
                )

    def read(self, name: str, index: int) -> npt.NDArray[Any]:
        """Return one sample of `images` (H, W, 3), `depths` (H, W) or `labels` (H, W)."""
        try:
            return np.ascontiguousarray(np.asarray(self._arrays()[name][index]).T)
        except OSError as error:
            raise _damaged(self.path, error) from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}  # an open file cannot go to another process

    def _arrays(self) -> dict[str, Any]:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), _open(self.path))
        file = self._opened[1]
        try:
            return {name: file[name] for name in AXES}
        except KeyError as error:
            raise CorruptFileError(
                f"`{self.path}` lacks one of {', '.join(AXES)}; it holds: {', '.join(file)}",
                hint="the labelled data set is meant, not the raw one",
            ) from error


def read_split(path: Path, part: Literal["train", "test"], num_images: int) -> Ints:
    """Return the images of a part of ``splits.mat``, from 0 on.

    Raises:
        MissingFileError: There is no such file.
        DataError: It names images that do not exist, or one for both parts.
    """
    content = _read_mat(path, "the official split")
    both = {name: _numbers(content, f"{name}Ndxs", path) - 1 for name in ("train", "test")}
    for name, indices in both.items():
        if not len(indices) or indices.min() < 0 or indices.max() >= num_images:
            raise DataError(
                f"`{path}`: {name}Ndxs does not fit the {num_images} images of {LABELLED}"
            )
    shared = np.intersect1d(both["train"], both["test"])
    if len(shared):
        raise DataError(f"`{path}`: image {shared[0] + 1} is in both parts")
    return both[part]


def read_mapping(folder: Path, num_classes: Literal[13, 40]) -> Ints:
    """Return the class, -1 for none, of every number in ``labels``, 0 (unlabelled) included.

    The tables are read from the published files and never guessed: ``classMapping40.mat`` maps the
    894 names to 40 classes, ``class13Mapping.mat`` those to 13.

    Raises:
        MissingFileError: A file is not there.
        CorruptFileError, DataError: It has another form, or its classes another order.
    """
    path = folder / MAPPING_40
    content = _read_mat(path, "which of 40 classes each of the 894 is")
    table = _numbers(content, "mapClass", path)
    _check_range(table, 40, path)
    _check_names(content.get("className"), 40, path)
    table = np.concatenate([[0], table])
    if num_classes == 13:
        path = folder / MAPPING_13
        content = _read_mat(path, "which of 13 classes each of the 40 is")
        second, names = _mapping_13(content, path)
        _check_range(second, 13, path)
        _check_names(names, 13, path)
        table = np.concatenate([[0], second])[table]
    return table - 1


def _open(path: Path) -> Any:
    if not path.is_file():
        raise MissingFileError(
            f"no such file: `{path}`", hint="`compactmtl data list` says where to get it"
        )
    h5py = _imported("h5py", path)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise _damaged(path, error) from error


def _read_mat(path: Path, what: str) -> dict[str, Any]:
    """Read a .mat file of a format before 7.3."""
    if not path.is_file():
        raise MissingFileError(
            f"no such file: `{path}`, which says {what}",
            hint=f"put it beside {LABELLED}; `compactmtl data list` says where to get it",
        )
    io = _imported("scipy.io", path)
    try:
        return dict(io.loadmat(path))
    except Exception as error:  # a damaged file makes the parser raise nearly anything
        raise _damaged(path, error) from error


def _imported(module: str, path: Path) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"`{path.name}` is read with {module.partition('.')[0]}, which is not installed",
            hint='pip install "compactmtl[nyuv2]"',
        ) from error


def _damaged(path: Path, error: Exception) -> CorruptFileError:
    reason = " ".join(str(error).split())
    return CorruptFileError(f"`{path}` is damaged or no .mat file: {reason}", hint="fetch it again")


def _numbers(content: dict[str, Any], name: str, path: Path) -> Ints:
    try:
        return np.asarray(content[name]).ravel().astype(np.int64)
    except (KeyError, ValueError, TypeError) as error:
        held = ", ".join(key for key in content if not key.startswith("__"))
        raise CorruptFileError(
            f"`{path}` has no numbers `{name}`; it holds: {held or 'nothing'}"
        ) from error


def _mapping_13(content: dict[str, Any], path: Path) -> tuple[Ints, Any]:
    """Return the numbers and the names in the struct of ``class13Mapping.mat``."""
    struct = np.asarray(content.get("classMapping13"))
    fields = struct.dtype.names or ()
    values = [np.asarray(struct[field].ravel()[0]).ravel() for field in fields]
    numbers = [v for v in values if v.dtype.kind in "uif" and len(v) == 40]
    if len(numbers) != 1:
        raise CorruptFileError(
            f"`{path}` has no struct `classMapping13` with one number for each of the 40 classes",
            hint=f"the one of {META} is meant",
        )
    return numbers[0].astype(np.int64), next((v for v in values if v.dtype.kind == "O"), None)


def _check_range(table: Ints, highest: int, path: Path) -> None:
    if not len(table) or table.min() < 0 or table.max() > highest:
        raise DataError(
            f"`{path}` maps to classes {table.min()} to {table.max()}, expected 1 to {highest}"
        )


def _check_names(names: Any, num_classes: Literal[13, 40], path: Path) -> None:
    """Refuse another order of classes, where the file names them."""
    if names is None:
        return
    found = ["".join(np.asarray(n).astype(str).ravel()).strip().lower() for n in names.ravel()]
    for name in SAME_EVERYWHERE[num_classes]:
        place = class_names(num_classes).index(name)
        if len(found) <= place or found[place] != name:
            got = found[place] if len(found) > place else "nothing"
            raise DataError(
                f"`{path}`: class {place + 1} is `{got}`, expected `{name}`",
                hint="the file numbers its classes in another order than the published one",
            )
