"""What the first bytes of an engine say, read without TensorRT and before any driver starts.

Bytes 0 to 3 are a tag, bytes 24 to 27 the version of the builder: major, minor, patch, build.
"""

from dataclasses import dataclass
from pathlib import Path

from compactmtl.board.bindings import NAMES
from compactmtl.board.errors import AbsentError, DamagedError

TAGS = {b"ftrt": "tensorrt", b"vtrt": "rtx"}
LENGTH = 28


@dataclass(frozen=True)
class Header:
    """Which TensorRT wrote an engine.

    Attributes:
        flavour: ``tensorrt`` or ``rtx``.
        version: Major, minor, patch and build.
    """

    flavour: str
    version: tuple[int, int, int, int]

    def __str__(self) -> str:
        return f"{NAMES[self.flavour]} {'.'.join(map(str, self.version))}"


def parse_header(plan: bytes, name: str) -> Header:
    """Return what the start of an engine says.

    Raises:
        DamagedError: It is no engine.
    """
    flavour = TAGS.get(plan[:4])
    if flavour is None or len(plan) < LENGTH:
        raise DamagedError(
            f"`{name}` is no TensorRT engine: it starts with {plan[:4]!r}, expected "
            f"{' or '.join(repr(tag) for tag in TAGS)} and {LENGTH} bytes at least",
            hint="engines with anything in front of the plan are not plain ones; build it again",
        )
    major, minor, patch, build = plan[24:LENGTH]
    return Header(flavour, (major, minor, patch, build))


def read_header(path: Path) -> Header:
    """Return what the start of an engine file says.

    Raises:
        AbsentError: There is no such file, or it is not readable.
        DamagedError: It is no engine.
    """
    try:
        with path.open("rb") as file:
            start = file.read(LENGTH)
    except OSError as error:
        raise AbsentError(f"cannot read `{path}`: {error.strerror or error}") from error
    return parse_header(start, str(path))


def check_header(path: Path, flavour: str, version: str | None) -> Header:
    """Check that an engine is one for the TensorRT of this machine.

    Args:
        path: The engine.
        flavour: The one that is to run it.
        version: The version that is installed; None: any will do.

    Raises:
        AbsentError: There is no such file, or it is not readable.
        DamagedError: It is no engine, one of the other flavour, or of another version.
    """
    header = read_header(path)
    wanted = NAMES[flavour] + (f" {version}" if version else "")
    numbers = ".".join(map(str, header.version))
    if header.flavour != flavour or (version and not f"{numbers}.".startswith(f"{version}.")):
        raise DamagedError(
            f"`{path}` is an engine of {header}, expected {wanted}",
            hint="engines run only in the version that built them; build it again from its ONNX",
        )
    return header
