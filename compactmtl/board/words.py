"""What users type for settings: 1:4:16, 384x640, 1GiB, 8.9, 10m."""

import re

from compactmtl.board.errors import AskedError
from compactmtl.board.recipe import Batch, Size

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_batch(text: str) -> Batch:
    """Read ``4`` or ``1:4:16``: smallest, usual and largest batch size.

    Raises:
        AskedError: It is something else, or not in order.
    """
    match = re.fullmatch(r"(\d+)(?::(\d+):(\d+))?", text)
    if not match or int(match[1]) < 1:
        raise AskedError(
            f"batch (={text}) is no range of batch sizes", hint="write 4, or 1:4:16 (min:opt:max)"
        )
    low, usual, high = (int(each or match[1]) for each in match.groups())
    if not low <= usual <= high:
        raise AskedError(f"batch (={text}) must not fall: smallest, usual, largest")
    return low, usual, high


def parse_size(text: str) -> Size:
    """Read ``384x640``, or three of them with colons: smallest, usual and largest image, HxW.

    Raises:
        AskedError: It is something else, or not in order.
    """
    parts = text.split(":")
    found = [re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", part) for part in parts]
    sizes = [(int(match[1]), int(match[2])) for match in found if match]
    if len(sizes) != len(parts) or len(sizes) not in (1, 3):
        raise AskedError(
            f"size (={text}) is no image size",
            hint="write 384x640 (height x width), or 256x320:384x640:512x640 (min:opt:max)",
        )
    low, usual, high = sizes * (3 // len(sizes))
    if any(not low[axis] <= usual[axis] <= high[axis] for axis in (0, 1)):
        raise AskedError(f"size (={text}) must not fall: smallest, usual, largest")
    return low, usual, high


def parse_bytes(text: str) -> int:
    """Read ``1GiB``, ``512MiB`` or a plain number of bytes.

    Raises:
        AskedError: It is something else, or zero.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]i?B|)", text)
    size = int(float(match[1]) * UNITS[match[2]]) if match else 0
    if size < 1:
        raise AskedError(f"workspace (={text}) is no size in bytes", hint="write 1GiB or 512MiB")
    return size


def parse_capability(text: str) -> str:
    """Read a compute capability such as ``8.9``.

    Raises:
        AskedError: It is something else.
    """
    if not re.fullmatch(r"\d{1,2}\.\d", text):
        raise AskedError(
            f"compute capability (={text}) is none", hint="write 8.9 for Ada, 12.0 for Blackwell"
        )
    return text


def parse_duration(text: str) -> float:
    """Read ``90``, ``30s``, ``10m`` or ``2h`` as seconds.

    Raises:
        AskedError: It is something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise AskedError(f"duration (={text}) is none", hint="write 30s, 10m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
