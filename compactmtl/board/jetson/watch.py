"""Note what the board does while it is measured; see ``Recording``."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from compactmtl.board.bench.thermometer import ZONES, Source, hottest_zone
from compactmtl.board.jetson.clocks import read_clocks
from compactmtl.board.jetson.detect import Jetson, detect
from compactmtl.board.jetson.power_mode import read_power_mode
from compactmtl.board.jetson.recording import Kind, Recording, Window
from compactmtl.board.jetson.sampler import Sampler
from compactmtl.board.jetson.tegrastats import parse_line
from compactmtl.board.jetson.throttle import read_over_current

ROOT_VARIABLE = "COMPACTMTL_BOARD_ROOT"
"""Where the board's files lie, if not under ``/``: a simulated board, and called so everywhere."""
IDLE_SECONDS = 2.0
STALE_S = 2.0
"""An older line of tegrastats says nothing of now."""


def board_root() -> Path:
    """Return where this board's files lie."""
    return Path(os.environ.get(ROOT_VARIABLE) or "/")


def look() -> Jetson:
    """Detect this machine, or what stands for it."""
    return detect(board_root())


class Watch:
    """Notes for one measurement, made by ``watching``."""

    def __init__(self, recording: Recording, clock: Callable[[], float]) -> None:
        self.recording = recording
        self._clock = clock
        self.thermometer = Source("hottest sensor of the Jetson", self._hottest)

    @contextmanager
    def window(self, kind: Kind, name: str = "") -> Iterator[Callable[[], None]]:
        """Note that the block is one window; what it yields counts one inference."""
        runs, start = 0, self._clock()

        def ran() -> None:
            nonlocal runs
            runs += 1

        yield ran
        self.recording.windows.append(Window(kind, name, start, self._clock(), runs))

    def _hottest(self) -> float | None:
        """Return what tegrastats told last; where it tells nothing, the board's thermal zones."""
        readings = self.recording.readings
        if readings and self._clock() - readings[-1].at_s < STALE_S:
            told = parse_line(readings[-1].line).temperatures_c
            if told:
                return max(told.values())
        return hottest_zone(board_root() / ZONES.relative_to("/"))

    def idle(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Do nothing for two seconds, for the board's power when nothing runs."""
        with self.window("idle"):
            sleep(IDLE_SECONDS)


@contextmanager
def watching(clock: Callable[[], float] = time.perf_counter) -> Iterator[Watch]:
    """Note readings, clocks and counters within the block; they are complete after it."""
    root = board_root()
    recording = Recording(
        simulated=root != Path("/"),
        board=detect(root).to_dict(),
        power_mode=asdict(read_power_mode()),
        clocks={name: each.to_dict() for name, each in read_clocks(root).items()},
    )
    before = read_over_current(root)
    sampler = Sampler()
    try:
        with sampler:
            recording.readings = sampler.readings
            yield Watch(recording, clock)
    finally:
        recording.why = sampler.why
        after = read_over_current(root)
        if before is not None and after is not None:
            recording.over_current = (before, after)
