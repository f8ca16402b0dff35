"""Read a temperature once a second beside a measurement."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

ZONES = Path("/sys/class/thermal")
PLAUSIBLE_C = (-40.0, 150.0)
"""A sensor that is off reads -256 on Tegra, 0 K elsewhere."""


@dataclass(frozen=True)
class Reading:
    """A temperature, and when it was read on the clock ``time.perf_counter_ns``."""

    at_ns: int
    celsius: float


@dataclass(frozen=True)
class Source:
    """What tells temperatures: its name, and what reads degrees Celsius; None: it cannot tell."""

    name: str
    read: Callable[[], float | None]


def hottest_zone(zones: Path = ZONES) -> float | None:
    """Return the highest temperature in degrees Celsius that Linux tells; None if it tells none.

    Source: the kernel's sysfs-api of thermal zones: thousandths of a degree Celsius.
    """
    found = []
    for file in zones.glob("thermal_zone*/temp"):
        try:
            celsius = int(file.read_text(encoding="ascii")) / 1000
        except (OSError, ValueError):  # a zone whose sensor is off cannot be read
            continue
        if PLAUSIBLE_C[0] < celsius < PLAUSIBLE_C[1]:
            found.append(celsius)
    return max(found, default=None)


LINUX = Source("hottest thermal zone of the machine, by Linux", hottest_zone)


class Thermometer:
    """Reads while its block runs, in a thread of its own.

    Args:
        source: What is read.
        every_s: Seconds between two readings.

    Attributes:
        readings: What was read, in order; empty where nothing could be.
    """

    def __init__(self, source: Source = LINUX, *, every_s: float = 1.0) -> None:
        self.readings: list[Reading] = []
        self._read, self._every_s = source.read, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Thermometer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            celsius = self._read()
            if celsius is not None:
                self.readings.append(Reading(time.perf_counter_ns(), celsius))
            if self._stop.wait(self._every_s):
                return
