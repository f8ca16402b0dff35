"""Where every file of every sample lies in a set of tar archives, so that any can be read at once.

The archives are WebDataset's: files whose names agree up to the first dot of the last part are one
sample, and what follows the dot says what a file is. An index is made once, by reading the headers
of the archives, and kept in the cache under a name that depends on their names, sizes and times.
"""

import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compactmtl.data.packs import ArraySpec, read_pack
from compactmtl.errors import CorruptFileError, DataError
from compactmtl.files import make_folder, read_error, write_bytes

BLOCK = 512
"""Bytes of a tar archive's unit; two blocks of zeros are its end."""
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ShardIndex:
    """Samples and their files."""

    shards: tuple[Path, ...]
    shard: Ints
    """The archive of each sample, (N,)."""
    place: Ints
    """Offset and size in bytes of each sample's files, (N, files, 2); an offset of -1: none."""

    def __len__(self) -> int:
        return len(self.shard)

    def read(self, index: int) -> list[bytes | None]:
        """Return the files of a sample, None for those it lacks.

        Raises:
            MissingFileError: The archive is gone, or not readable.
            CorruptFileError: It has become shorter.
        """
        path = self.shards[int(self.shard[index])]
        found: list[bytes | None] = []
        try:
            with path.open("rb") as handle:
                for offset, size in self.place[index].tolist():
                    if offset < 0:
                        found.append(None)
                        continue
                    handle.seek(offset)
                    content = handle.read(size)
                    if len(content) != size:
                        raise CorruptFileError(f"`{path}` is shorter than when it was indexed")
                    found.append(content)
        except OSError as error:
            raise read_error(path, error) from error
        return found


def index_shards(
    shards: Sequence[Path],
    files: Sequence[str],
    cache: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ShardIndex:
    """Return the index of archives, from the cache or made now.

    Args:
        shards: The archives, in order; plain tar, as compressed ones cannot be entered anywhere.
        files: What is wanted of a sample: names from the first dot on; ``a|b`` is either.
        cache: Folder for indices.
        progress: Called with (archives read, archives) while an index is made.

    Raises:
        MissingFileError: An archive is not readable.
        CorruptFileError: One is damaged, cut off, or compressed.
        DataError: A sample is in two places.
        WriteError: The cache cannot be written.
    """
    stored = cache / f"{_fingerprint(shards, files)}.npz"
    specs = {
        "shard": ArraySpec("int64", (None,)),
        "place": ArraySpec("int64", (None, len(files), 2)),
    }
    if stored.is_file():
        arrays = read_pack(stored, specs)
        return ShardIndex(tuple(shards), arrays["shard"], arrays["place"])
    owners: list[int] = []
    places: list[list[tuple[int, int]]] = []
    seen: set[str] = set()
    for number, path in enumerate(shards):
        for key, found in _samples(path, files):
            if key in seen:
                raise DataError(
                    f"`{path}`: sample `{key}` is in two places, expected its files side by side",
                    hint="sort the files by name before they are archived, and name samples once",
                )
            seen.add(key)
            owners.append(number)
            places.append(found)
        if progress is not None:
            progress(number + 1, len(shards))
    index = ShardIndex(
        tuple(shards),
        np.array(owners, np.int64),
        np.array(places, np.int64).reshape(-1, len(files), 2),
    )
    content = io.BytesIO()
    np.savez(content, shard=index.shard, place=index.place)
    make_folder(cache)
    write_bytes(stored, content.getvalue())
    return index


def _samples(path: Path, files: Sequence[str]) -> list[tuple[str, list[tuple[int, int]]]]:
    """Return the samples of an archive in order: their keys, and where their files lie."""
    choices = [set(file.split("|")) for file in files]
    found: list[tuple[str, list[tuple[int, int]]]] = []
    end_of_members = 0
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                end_of_members = member.offset_data + -(-member.size // BLOCK) * BLOCK
                folder, _, name = member.name.rpartition("/")
                key, _, end = name.partition(".")
                if not member.isreg() or not key or not end:
                    continue
                key = f"{folder}/{key}"
                if not found or found[-1][0] != key:
                    found.append((key, [(-1, 0)] * len(files)))
                for place, choice in enumerate(choices):
                    if end.lower() in choice:
                        found[-1][1][place] = (member.offset_data, member.size)
        with path.open("rb") as handle:
            handle.seek(end_of_members)
            if handle.read(2 * BLOCK) != bytes(2 * BLOCK):  # tarfile takes a cut header for the end
                raise tarfile.ReadError("no mark of an end")
    except tarfile.TarError as error:
        raise CorruptFileError(
            f"`{path}` is damaged, cut off or compressed: {error}",
            hint="archives must be plain .tar; copy it again, or unpack the compression",
        ) from error
    except OSError as error:
        raise read_error(path, error) from error
    return found


def _fingerprint(shards: Sequence[Path], files: Sequence[str]) -> str:
    document: list[Any] = [list(files)]
    for path in shards:
        try:
            status = path.stat()
        except OSError as error:
            raise read_error(path, error) from error
        document.append((str(path.resolve()), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(document).encode()).hexdigest()[:32]
