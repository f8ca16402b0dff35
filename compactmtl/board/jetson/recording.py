"""Everything that was noted while a board was measured: what a report is made of, live or replayed.

As a file it is one JSON object per line::

    {"type": "board", "format": 1, "simulated": false, "board": {...}, ...}
    {"type": "reading", "at_s": 12.31, "line": "RAM 1343/7620MB ... VDD_IN 5251mW/8535mW"}
    {"type": "window", "kind": "alone", "name": "a", "start_s": 20.0, "end_s": 23.0, "runs": 98}
    {"type": "document", "document": {... the bench record, with the times of every round ...}}

Times are seconds of one clock with an origin of its own. Windows are ``idle`` (nothing runs),
``timing`` (all candidates in turns) and ``alone`` (one candidate, back to back, ``runs`` times).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from compactmtl.board.errors import DamagedError
from compactmtl.board.files import read_bytes, write_together
from compactmtl.board.jetson.sampler import Reading

FORMAT = 1
Kind = Literal["idle", "timing", "alone"]
KINDS = ("idle", "timing", "alone")


@dataclass(frozen=True)
class Window:
    """A stretch of time in which one thing was done."""

    kind: Kind
    name: str
    start_s: float
    end_s: float
    runs: int


@dataclass
class Recording:
    """What was noted.

    Attributes:
        simulated: Whether the board was another folder than ``/``.
        board: See ``Jetson.to_dict``.
        power_mode: See ``PowerMode``.
        clocks: By name; see ``Clock.to_dict``.
        readings: Lines of tegrastats.
        windows: What was done when.
        over_current: Event counters before and after; None where there are none to read.
        why: Why there are no readings, or no more of them; empty where all is well.
        document: Record of the bench that this belongs to; empty before it is made.
    """

    simulated: bool
    board: dict[str, Any]
    power_mode: dict[str, Any]
    clocks: dict[str, Any]
    readings: list[Reading] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    over_current: tuple[dict[str, int], dict[str, int]] | None = None
    why: str = ""
    document: dict[str, Any] = field(default_factory=dict)

    def within(self, window: Window, *, settle_s: float = 0.0) -> list[Reading]:
        """Return the readings of a window, but for those of its first seconds."""
        start = window.start_s + settle_s
        return [each for each in self.readings if start <= each.at_s <= window.end_s]

    def of_kind(self, *kinds: Kind) -> Iterator[Window]:
        """Yield the windows of some kinds, in order."""
        return (window for window in self.windows if window.kind in kinds)


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording, whole or not at all.

    Raises:
        UnwritableError: The file cannot be written.
    """
    lines: list[dict[str, Any]] = [
        {
            "type": "board",
            "format": FORMAT,
            "simulated": recording.simulated,
            "board": recording.board,
            "power_mode": recording.power_mode,
            "clocks": recording.clocks,
            "over_current": recording.over_current,
            "why": recording.why,
        }
    ]
    lines += [{"type": "window", **vars(window)} for window in recording.windows]
    lines += [{"type": "reading", **vars(reading)} for reading in recording.readings]
    if recording.document:
        lines.append({"type": "document", "document": recording.document})
    text = "".join(f"{json.dumps(line, allow_nan=False)}\n" for line in lines)
    write_together({path: text.encode()})


def read_recording(path: Path) -> Recording:
    """Read a recording.

    Raises:
        AbsentError: There is no such file.
        DamagedError: It is no recording, or one of another format version.
    """
    found: Recording | None = None
    for number, line in enumerate(read_bytes(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found = _take(entry, found)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedError(
                f"`{path}` line {number} belongs to no recording: {type(error).__name__}: {error}",
                hint="`compactmtl bench --record-tegrastats FILE` on a Jetson writes one",
            ) from error
    if found is None:
        raise DamagedError(f"`{path}` is empty, expected a recording")
    return found


def _take(entry: dict[str, Any], found: Recording | None) -> Recording:
    kind = entry["type"]
    if kind == "board":
        if entry["format"] != FORMAT:
            raise ValueError(f"format {entry['format']}, expected {FORMAT}")
        if found is not None:
            raise ValueError("a second board")
        counters = entry.get("over_current")
        return Recording(
            simulated=bool(entry["simulated"]),
            board=dict(entry["board"]),
            power_mode=dict(entry["power_mode"]),
            clocks=dict(entry["clocks"]),
            over_current=(dict(counters[0]), dict(counters[1])) if counters else None,
            why=str(entry.get("why", "")),
        )
    if found is None:
        raise ValueError("the first line must be of type `board`")
    if kind == "reading":
        found.readings.append(Reading(float(entry["at_s"]), str(entry["line"])))
    elif kind == "window":
        if entry["kind"] not in KINDS:
            raise ValueError(f"a window of kind {entry['kind']}")
        start, end = float(entry["start_s"]), float(entry["end_s"])
        window = Window(entry["kind"], str(entry["name"]), start, end, int(entry["runs"]))
        found.windows.append(window)
    elif kind == "document":
        found.document = dict(entry["document"])
    else:
        raise ValueError(f"a line of type {kind}")
    return found
