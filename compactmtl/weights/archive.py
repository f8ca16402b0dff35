"""The zip archive that ``torch.save`` writes, proven whole before torch reads it."""

import struct
import zipfile
import zlib
from pathlib import Path

from compactmtl.errors import CorruptFileError
from compactmtl.files import read_error

ZIP = b"PK\x03\x04"
PICKLE = b"\x80"
"""First bytes of an archive, and of a bare pickle."""

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,  # NotImplementedError is one
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
)
"""What a reader meets in a damaged file; none of them says "damaged" by itself."""

_HINT = "it may be truncated: compare its size with the original's, and copy it again"


def read_head(path: Path) -> bytes:
    """Return the first nine bytes of a file, fewer where it is shorter.

    Raises:
        MissingFileError: There is no such file, or it is a folder, or it is not readable.
        CorruptFileError: It is empty.
    """
    try:
        with path.open("rb") as handle:
            head = handle.read(9)
    except OSError as error:
        raise read_error(path, error) from error
    if not head:
        raise CorruptFileError(
            f"`{path}` is empty (0 bytes), expected weights", hint="use an earlier copy"
        )
    return head


def check_archive(path: Path) -> list[str]:
    """Return the names in an archive once every entry agrees with its checksum.

    torch's own reader does not verify checksums: a flipped bit would load as a wrong weight.

    Raises:
        CorruptFileError: Truncated or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            bad = archive.testzip()
    except OSError as error:
        raise read_error(path, error) from error
    except DAMAGE as error:
        raise CorruptFileError(
            f"`{path}` is truncated or damaged ({path.stat().st_size} bytes): {first_line(error)}",
            hint=_HINT,
        ) from error
    if bad is not None:
        raise CorruptFileError(
            f"`{path}` is damaged: `{bad}` fails its checksum",
            hint="copy it again; where torch was told to write no checksums "
            "(torch.serialization.set_crc32_options(False)), save it again with them",
        )
    return names


def first_line(error: BaseException) -> str:
    """Return the first sentence of what an error says: torch goes on with advice."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition(". ")[0][:300]
