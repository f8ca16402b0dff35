"""The zip archive around a stored program, read by its own index before torch sees it."""

import io
import json
import re
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

from torch.export.pt2_archive import PT2ArchiveWriter

from compactmtl.errors import CorruptFileError, UnsafeFileError
from compactmtl.files import read_error

MANIFEST = "extra/compactmtl.json"
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"

_REQUIRED = {"archive_format": b"pt2", "archive_version": b"0"}
_KNOWN = re.compile(
    r"archive_format|archive_version|byteorder|version|\.format_version|\.storage_alignment"
    r"|\.data/(version|serialization_id)|models/model\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(weight_\d{1,6}|model_weights_config\.json)"
    r"|data/constants/(tensor_\d{1,6}|model_constants_config\.json)"
    r"|extra/[\w.-]{1,100}"
)
_DANGEROUS = (
    (r"data/aotinductor/.*", "a compiled library"),
    (r"data/constants/custom_obj_.*", "a script object"),
    (r"data/constants/opaque_.*", "a pickled object"),
    (r"data/(weights|constants)/.*\.pt", "pickled tensors"),
    (r"models/.*", "a second program"),
)


def read_entries(source: Path | io.BytesIO, name: str) -> dict[str, bytes]:
    """Return what an archive holds, keyed by path below its one root folder.

    Refuses what could mislead another reader of the same bytes or cost more than the file's size:
    duplicate, absolute or climbing names, several roots, compressed or encrypted entries, sizes
    that do not add up, and every kind of entry that a stored program does not need.

    Raises:
        MissingFileError: No such file.
        CorruptFileError: Not a zip, truncated, damaged, incomplete or of another version.
        UnsafeFileError: An entry that should not be there.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            entries = _checked(archive, name)
            return {path: archive.read(info) for path, info in entries.items()}
    except OSError as error:
        raise read_error(Path(name), error) from error
    except (zipfile.BadZipFile, struct.error, EOFError, ValueError, RuntimeError) as error:
        raise CorruptFileError(
            f"`{name}` is not a readable .pt2 file: {error}",
            hint="it may be truncated, or a checkpoint: `compactmtl inspect` tells",
        ) from error


def _checked(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    roots = set()
    for info in archive.infolist():
        root, _, path = info.filename.partition("/")
        roots.add(root)
        if path == "data.pkl":
            raise CorruptFileError(
                f"`{name}` is a file of torch.save, expected an exported program (.pt2)",
                hint="a checkpoint goes to `compactmtl compress`",
            )
        if (
            info.orig_filename != info.filename
            or not path
            or root in ("", ".", "..")
            or "\\" in root
        ):
            raise UnsafeFileError(f"`{name}`: entry {info.orig_filename!r} is no relative path")
        if path in entries or len(roots) > 1:
            raise UnsafeFileError(
                f"`{name}`: entry {info.filename!r} stands there twice, or beside the root"
            )
        _check_kind(path, name)
        if info.flag_bits & 0x1 or info.compress_type != zipfile.ZIP_STORED:
            raise UnsafeFileError(
                f"`{name}`: entry {path!r} is compressed or encrypted, torch stores plainly"
            )
        entries[path] = info
    declared = sum(info.file_size for info in entries.values())
    assert archive.fp is not None, "the caller holds it open"
    size = archive.fp.seek(0, io.SEEK_END)
    if declared > size or any(info.file_size != info.compress_size for info in entries.values()):
        raise UnsafeFileError(
            f"`{name}`: its entries declare {declared} bytes, the file has {size}"
        )
    for path, expected in _REQUIRED.items():
        if (
            path not in entries
            or entries[path].file_size > 16
            or archive.read(entries[path]) != expected
        ):
            raise CorruptFileError(
                f"`{name}`: `{path}` is not {expected.decode()!r}: another format or version"
            )
    byteorder = entries.get("byteorder")
    if byteorder is not None and archive.read(byteorder) != sys.byteorder.encode():
        raise CorruptFileError(f"`{name}` was written on a machine of another byte order")
    for path in (PROGRAM, WEIGHTS, CONSTANTS):
        if path not in entries:
            raise CorruptFileError(f"`{name}`: `{path}` is missing")
    return entries


def _check_kind(path: str, name: str) -> None:
    if _KNOWN.fullmatch(path):
        return
    what = next(
        (what for pattern, what in _DANGEROUS if re.fullmatch(pattern, path)), "unknown here"
    )
    raise UnsafeFileError(
        f"`{name}`: entry {path!r} is {what}, a stored program needs only tensors"
    )


def read_document(entries: dict[str, bytes], path: str, name: str) -> Any:
    """Return the JSON document stored at ``path``.

    Raises:
        CorruptFileError: It is not JSON.
    """
    try:
        return json.loads(entries[path])
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"`{name}`: `{path}` is not a JSON document: {error}") from error


def write_entries(entries: dict[str, bytes]) -> bytes:
    """Return an archive with exactly these entries, as torch writes it."""
    buffer = io.BytesIO()
    with PT2ArchiveWriter(buffer) as writer:
        for path, content in entries.items():
            if not path.startswith(".") and path not in (
                "byteorder",
                "version",
            ):  # torch adds these
                writer.write_bytes(path, content)
    return buffer.getvalue()
