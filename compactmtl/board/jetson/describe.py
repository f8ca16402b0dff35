"""A recording as the part ``jetson`` of a bench record."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from compactmtl.board.jetson.energy import energy, rails
from compactmtl.board.jetson.evidence import evidence
from compactmtl.board.jetson.recording import Recording
from compactmtl.board.jetson.sampler import INTERVAL_MS
from compactmtl.board.jetson.tegrastats import Sample, parse_line
from compactmtl.board.jetson.throttle import throttled

UNAVAILABLE = "unavailable"
SHOWN_WORDS = 20


def describe(recording: Recording) -> dict[str, Any]:
    """Return everything that can be said, as JSON data.

    What could not be read is ``"unavailable"`` or None, never zero.
    """
    busy = [each for w in recording.of_kind("timing", "alone") for each in recording.within(w)]
    samples = [parse_line(each.line) for each in busy]
    verdict = throttled(recording)
    return {
        "evidence": evidence(recording.board, simulated=recording.simulated),
        "simulated": recording.simulated,
        "board": recording.board,
        "power_mode": recording.power_mode,
        "clocks": recording.clocks,
        "tegrastats": {
            "readings": len(recording.readings),
            "interval_ms": INTERVAL_MS,
            "why": recording.why,
            "unknown_words": _unknown(samples),
        },
        "power": rails(busy) or UNAVAILABLE,
        "energy": energy(recording) or UNAVAILABLE,
        "temperatures_c": _temperatures(samples) or UNAVAILABLE,
        "clocks_mhz": _clocks(samples) or UNAVAILABLE,
        "ram_mib": _memory(recording, samples) or UNAVAILABLE,
        "throttled": {"verdict": verdict.verdict, "why": verdict.why},
    }


def _unknown(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(word for sample in samples for word in sample.unknown))[:SHOWN_WORDS]


def _temperatures(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    found: dict[str, list[float]] = {}
    for sample in samples:
        for name, celsius in sample.temperatures_c.items():
            found.setdefault(name, []).append(celsius)
    return {n: {"start": v[0], "max": max(v), "end": v[-1]} for n, v in found.items()}


def _clocks(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return least, median and largest clock of each unit, and of the cores together."""
    found: dict[str, list[int]] = {}
    for sample in samples:
        for name, engine in sample.engines.items():
            if engine.mhz:
                found.setdefault(name, []).append(max(engine.mhz))
        cores = [core.mhz for core in sample.cores if core is not None and core.mhz is not None]
        if cores:
            found.setdefault("CPU", []).append(max(cores))
    return {n: {"min": min(v), "median": median(v), "max": max(v)} for n, v in found.items()}


def _memory(recording: Recording, samples: Sequence[Sample]) -> dict[str, float | None]:
    """Return the memory used on the whole board; what the GPU has is part of it."""
    used = [s.memory_mib["RAM"][0] for s in samples if "RAM" in s.memory_mib]
    if not used:
        return {}
    idle = [
        sample.memory_mib["RAM"][0]
        for window in recording.of_kind("idle")
        for sample in (parse_line(each.line) for each in recording.within(window))
        if "RAM" in sample.memory_mib
    ]
    return {"max": max(used), "above_idle": max(used) - median(idle) if idle else None}
