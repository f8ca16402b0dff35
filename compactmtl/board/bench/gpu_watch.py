"""Note what a GPU draws, how fast it is clocked and how warm it is while it is measured.

Never run on hardware; see ``compactmtl.board.nvml``.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean, median
from typing import Any

from compactmtl.board.bench.thermometer import Source
from compactmtl.board.bench.watch import Kind
from compactmtl.board.nvml import GpuReading, Nvml

INTERVAL_S = 0.1
"""Drivers average power over about as long."""
EVIDENCE = "NVML, never run on hardware"


class GpuWatch:
    """Reads a GPU ten times a second within the block; see ``Watch``."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._readings: list[tuple[float, GpuReading]] = []
        self._windows: list[tuple[Kind, str, float, float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="gpu", daemon=True)

    def __enter__(self) -> "GpuWatch":
        """Start reading."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()
        self._nvml.close()

    @contextmanager
    def window(self, kind: Kind, name: str = "") -> Iterator[Callable[[], None]]:
        """Note that the block is one window; what it yields counts one inference."""
        runs, start = 0, time.perf_counter()

        def ran() -> None:
            nonlocal runs
            runs += 1

        yield ran
        self._windows.append((kind, name, start, time.perf_counter(), runs))

    @property
    def thermometer(self) -> Source:
        """Return what the driver tells of the GPU."""
        return Source("GPU, by NVML", lambda: self._nvml.read().celsius)

    def describe(self) -> dict[str, Any]:
        """Return what was seen, for the record's ``device``; None: the GPU does not tell."""
        everything = [reading for _, reading in self._readings]
        slowed = [each.slowed for each in everything if each.slowed is not None]
        energy = {}
        for kind, name, start, end, runs in self._windows:
            within = [each for at, each in self._readings if start <= at <= end]
            power = [each.power_w for each in within if each.power_w is not None]
            if kind == "alone" and runs:
                watts = fmean(power) if power else None
                energy[name] = {
                    "power_w": watts,
                    "mj_per_inference": None
                    if watts is None
                    else 1e3 * watts * (end - start) / runs,
                    "readings": len(power),
                }
        return {
            "evidence": EVIDENCE,
            "readings": len(everything),
            "power_w": _spread([each.power_w for each in everything]),
            "graphics_mhz": _spread([each.graphics_mhz for each in everything]),
            "memory_mhz": _spread([each.memory_mhz for each in everything]),
            "celsius": _spread([each.celsius for each in everything]),
            "used_mib": _spread([each.used_mib for each in everything]),
            "throttled": sorted({why for whys in slowed for why in whys}) if slowed else "unknown",
            "alone": energy,
        }

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._readings.append((time.perf_counter(), self._nvml.read()))


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"min": min(known), "median": median(known), "max": max(known)}
