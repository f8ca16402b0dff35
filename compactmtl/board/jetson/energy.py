"""Power by rail, and energy per inference.

Candidates that are timed in turns cannot be told apart by readings 100 ms apart. So each also runs
alone, back to back, and the energy of one inference is the mean power of that time, times its
length, over the inferences in it. It is the energy of all that the rail feeds, not of the network
alone; what is above the idle board is given beside it, never in its place.

The first value of each rail counts; tegrastats' own averages begin when the tool does.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from compactmtl.board.jetson.modules import TOTAL_RAIL
from compactmtl.board.jetson.recording import Recording, Window
from compactmtl.board.jetson.sampler import Reading
from compactmtl.board.jetson.tegrastats import parse_line

SETTLE_S = 0.3
"""Readings of a window's first moments still hold what was before it."""
LEAST_READINGS = 10
NOT_PARTS = ("VDD_IN", "VIN", "NC")
"""Rails that a sum leaves out: inputs that feed the others, and what is not connected."""


def rails(readings: Sequence[Reading]) -> dict[str, dict[str, float]]:
    """Return mean and peak power by rail in mW; a rail counts where every reading has it."""
    samples = [parse_line(reading.line).power_mw for reading in readings]
    if not samples:
        return {}
    names = [name for name in samples[0] if all(name in sample for sample in samples)]
    return {
        name: {
            "mean_mw": fmean(sample[name] for sample in samples),
            "peak_mw": max(sample[name] for sample in samples),
        }
        for name in names
    }


def total_rail(part: str | None, names: Sequence[str]) -> str | None:
    """Return the rail that is the whole module's input; None where none is known to be."""
    name = TOTAL_RAIL.get((part or "").partition("-")[0])
    return name if name in names else None


def energy(recording: Recording) -> dict[str, dict[str, Any]]:
    """Return, per candidate that ran alone, its energy per inference.

    Unit: mJ per call of the network, whatever its batch size. A figure that cannot be given is
    absent, and ``why`` says why.
    """
    idle = _idle(recording)
    part = recording.board.get("part")
    return {
        window.name: _of(window, recording, idle, part if isinstance(part, str) else None)
        for window in recording.of_kind("alone")
    }


def _of(
    window: Window, recording: Recording, idle: Mapping[str, float], part: str | None
) -> dict[str, Any]:
    readings = recording.within(window, settle_s=SETTLE_S)
    found = rails(readings)
    seconds = window.end_s - window.start_s
    document: dict[str, Any] = {
        "runs": window.runs,
        "seconds": seconds,
        "readings": len(readings),
        "why": "",
    }
    if len(readings) < LEAST_READINGS or not window.runs or seconds <= 0:
        document["why"] = recording.why or (
            f"{len(readings)} readings in {seconds:.1f} s, at least {LEAST_READINGS} needed: "
            "measure longer"
        )
        return document
    if not found:
        document["why"] = "no rail is in every reading"
        return document
    call_s = seconds / window.runs
    document["power"] = found
    document["mj_per_inference"] = {name: r["mean_mw"] * call_s for name, r in found.items()}
    document["mj_above_idle"] = {
        name: (r["mean_mw"] - idle[name]) * call_s for name, r in found.items() if name in idle
    }
    total = total_rail(part, list(found))
    if total:
        document["module_rail"] = total
    else:
        parts = [name for name in found if name not in NOT_PARTS]
        document["sum_of"] = parts
        document["mj_sum"] = sum(found[name]["mean_mw"] for name in parts) * call_s
    return document


def _idle(recording: Recording) -> dict[str, float]:
    readings = [
        each
        for window in recording.of_kind("idle")
        for each in recording.within(window, settle_s=SETTLE_S)
    ]
    if len(readings) < LEAST_READINGS:
        return {}
    return {name: each["mean_mw"] for name, each in rails(readings).items()}
