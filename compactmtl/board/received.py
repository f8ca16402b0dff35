"""Whether files that came from elsewhere are the files that were sent."""

from pathlib import Path

from compactmtl.board.errors import DamagedError, UnsafeError
from compactmtl.board.files import read_bytes, read_json, sha256

SENT = "sent.json"
"""Name to SHA-256 of all files that were sent with it."""


def check_received(path: Path) -> int:
    """Compare files with the list that came with them, and return how many there are.

    Raises:
        AbsentError: A file of the list is missing.
        DamagedError: One differs.
        UnsafeError: The list names a file outside its folder.
    """
    stated = read_json(path)
    for name, fingerprint in stated.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UnsafeError(f"`{path.name}` names the file `{name}` outside its folder")
        found = sha256(read_bytes(path.parent / name))
        if found != fingerprint:
            raise DamagedError(
                f"`{name}` did not arrive as it was sent: SHA-256 {found[:12]}, expected "
                f"{str(fingerprint)[:12]}",
                hint="try again; if it stays so, the board's disk or memory is at fault",
            )
    return len(stated)
