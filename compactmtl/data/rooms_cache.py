"""Rendered rooms on disk: uncompressed, memory-mapped, checked, rendered again where damaged.

A folder holds one split at one size, ``rooms-v<renderer>-seed<seed>-<split>-<height>x<width>/``, in
parts of up to 50 images, ``<first>-<stop>.npy``. Each part is written atomically, so an interrupted
render goes on with the parts that are missing. A record is the image and its targets, quantised,
behind a CRC-32 of its bytes.
"""

import io
import logging
import os
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compactmtl.data.rooms_geometry import CLASS_NAMES
from compactmtl.data.rooms_render import RENDERER_VERSION, Frame, render
from compactmtl.files import atomic_write, make_folder

PART = 50
"""Images per file: what an interrupted render loses at most, about a second of work."""

STALE_SECONDS = 3600.0
"""A temporary file older than this belongs to a process that was killed."""

Progress = Callable[[int, int], None]
Records = npt.NDArray[np.void]

logger = logging.getLogger(__name__)


def cache_folder(override: str | Path | None = None) -> Path:
    """Return where caches go.

    That is ``override``, else ``$COMPACTMTL_CACHE``, else ``compactmtl`` in ``$XDG_CACHE_HOME``,
    else ``~/.cache/compactmtl``.
    """
    if override is not None:
        return Path(override).expanduser()
    if own := os.environ.get("COMPACTMTL_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "compactmtl"


@dataclass(frozen=True)
class RoomsKey:
    """Everything a rendered image depends on, except its index; and whether things are stored."""

    split: str
    seed: int
    height: int
    width: int
    things: bool = False

    @property
    def folder(self) -> str:
        """Name of the cache's folder."""
        size = f"{self.height}x{self.width}"
        name = f"rooms-v{RENDERER_VERSION}-seed{self.seed}-{self.split}-{size}"
        return f"{name}-things" if self.things else name

    @property
    def record(self) -> np.dtype[np.void]:
        """Layout of one image: normals are x127, depth is in metres."""
        size = (self.height, self.width)
        fields: list[tuple[str, str, tuple[int, ...]]] = [
            ("crc32", "<u4", ()),
            ("image", "u1", (*size, 3)),
            ("seg", "u1", size),
            ("depth", "<f2", size),
            ("normals", "i1", (*size, 3)),
        ]
        return np.dtype([*fields, ("thing", "<u2", size)] if self.things else fields)


def quantise(frame: Frame, record: np.dtype[np.void]) -> Records:
    """Pack one frame into a record of shape (1,)."""
    packed = np.zeros(1, record)
    packed["image"][0] = np.rint(frame.image * 255)
    packed["seg"][0] = frame.seg
    packed["depth"][0] = frame.depth
    packed["normals"][0] = np.rint(frame.normals * 127)
    if "thing" in (record.names or ()):
        packed["thing"][0] = frame.thing
    packed["crc32"] = _crc32(packed[0])
    return packed


def _crc32(record: np.void) -> int:
    return zlib.crc32(record.tobytes()[4:])


def open_cache(
    root: Path, key: RoomsKey, num_images: int, *, num_workers: int, progress: Progress | None
) -> list[Records]:
    """Return the parts that hold the first ``num_images`` images, rendering what is missing.

    Args:
        root: The cache folder.
        key: What to render.
        num_images: At least 1.
        num_workers: Processes that render; 0 renders in this one. The result is the same.
        progress: Called with (images ready, images wanted) after each part, if any is missing.

    Raises:
        WriteError: A part is missing and the folder is not writable, or the disk is full.
    """
    folder = root / key.folder
    ranges = [(first, min(first + PART, num_images)) for first in range(0, num_images, PART)]
    parts = {span: _read(folder / _name(span), key, span) for span in ranges}
    missing = [span for span in ranges if parts[span] is None]
    if missing:
        damaged = [_name(span) for span in missing if (folder / _name(span)).exists()]
        if damaged:
            logger.warning("damaged cache in %s, rendering again: %s", folder, ", ".join(damaged))
        make_folder(folder)
        _sweep(folder)
        ready = num_images - sum(stop - first for first, stop in missing)
        for first, stop in _render_parts(folder, key, missing, num_workers):
            ready += stop - first
            if progress is not None:
                progress(ready, num_images)
        for span in missing:
            parts[span] = np.load(folder / _name(span), mmap_mode="r", allow_pickle=False)
    return [part for part in parts.values() if part is not None]


def _name(span: tuple[int, int]) -> str:
    return f"{span[0]:06d}-{span[1]:06d}.npy"


def _read(path: Path, key: RoomsKey, span: tuple[int, int]) -> Records | None:
    """Map a part; None if it is not there, or not what was written."""
    try:
        part: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(part, np.memmap):
        return None
    sound = part.dtype == key.record and part.shape == (span[1] - span[0],)
    if sound and all(_crc32(record) == int(record["crc32"]) for record in part):
        return part
    return None


def _sweep(folder: Path) -> None:
    """Remove the temporary files of renders that were killed."""
    for path in folder.glob(".*.npy"):
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)


def _render_parts(
    folder: Path, key: RoomsKey, missing: list[tuple[int, int]], num_workers: int
) -> Iterator[tuple[int, int]]:
    """Render and write parts, yielding each one's range when it is on disk."""
    if num_workers < 2:
        for span in missing:
            yield _render_part(folder, key, span)
        return
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_render_part, folder, key, span) for span in missing]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _render_part(folder: Path, key: RoomsKey, span: tuple[int, int]) -> tuple[int, int]:
    records = np.concatenate([render_record(key, index) for index in range(*span)])
    content = io.BytesIO()  # numpy's own writer does not say that the disk is full
    np.save(content, records, allow_pickle=False)
    with atomic_write(folder / _name(span)) as temporary, temporary.open("wb") as handle:
        handle.write(content.getbuffer())
    return span


def render_record(key: RoomsKey, index: int) -> Records:
    """Render one image into a record of shape (1,)."""
    assert len(CLASS_NAMES) < 256, "classes are stored as bytes"
    return quantise(render(key.split, key.seed, index, key.height, key.width), key.record)
