"""The power mode, asked of ``nvpmodel -q``; it is never set."""

import re
import subprocess
from dataclasses import dataclass

COMMAND = ("nvpmodel", "-q")
SECONDS = 10
_NAME = re.compile(r"NV Power Mode:\s*(\S.*?)\s*$", re.MULTILINE)
_NUMBER = re.compile(r"^\s*(\d{1,4})\s*$", re.MULTILINE)


@dataclass(frozen=True)
class PowerMode:
    """A power mode; ``why`` says why it is not known.

    Attributes:
        name: As in ``MAXN`` or ``15W``; None where it is not known.
        number: Its number in this board's configuration; None where it is not said.
        why: Why the name is not known, or empty.
    """

    name: str | None
    number: int | None = None
    why: str = ""


def parse_power_mode(text: str) -> PowerMode:
    """Read what ``nvpmodel -q`` prints: other lines, the name, and its number alone on a line."""
    name = _NAME.search(text)
    if not name:
        return PowerMode(None, why="nvpmodel names no mode")
    number = _NUMBER.search(text, name.end())
    return PowerMode(name[1], int(number[1]) if number else None)


def read_power_mode() -> PowerMode:
    """Ask for the power mode."""
    try:
        done = subprocess.run(
            COMMAND, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except FileNotFoundError:
        return PowerMode(None, why="nvpmodel is not here")
    except (OSError, subprocess.TimeoutExpired) as error:
        return PowerMode(None, why=f"nvpmodel does not answer: {type(error).__name__}")
    if done.returncode:
        return PowerMode(None, why=f"nvpmodel failed with exit code {done.returncode}")
    return parse_power_mode(done.stdout)
