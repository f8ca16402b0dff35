"""A candidate's part of the record."""

from dataclasses import asdict
from typing import Any

from compactmtl.board.bench.prepare import Ready
from compactmtl.board.bench.statistics import summarise
from compactmtl.board.bench.timing import Throughput, Times, Timings
from compactmtl.board.files import read_bytes, sha256

FORMAT_VERSION = 2
MAX_KEPT = 10_000
"""Times kept of each candidate; of a longer measurement, every second, third, ... round."""
NOT_INCLUDED = "not included: pre- and postprocessing"


def describe_candidate(
    ready: Ready, timings: Timings, throughput: Throughput, batch: int
) -> dict[str, Any]:
    """Return what was measured of one candidate, as JSON data."""
    item, session = ready.item, ready.session
    every = -(-len(timings.wall_ms) // MAX_KEPT)
    kept = {"wall": timings.wall_ms, "cpu": timings.cpu_ms}
    if timings.device_ms is not None:
        kept["device"] = timings.device_ms
    return {
        "file": item.path.name,
        "sha256": sha256(read_bytes(item.path)),
        "parts": {part.name: sha256(read_bytes(part)) for part in item.parts},
        "size_bytes": sum(file.stat().st_size for file in (item.path, *item.parts)),
        "runtime": session.runtime,
        "device": session.device,
        "includes": f"{session.includes}; {NOT_INCLUDED}",
        "inputs": {
            name: {"shape": list(array.shape), "dtype": str(array.dtype)}
            for name, array in ready.inputs.items()
        },
        "load_ms": ready.load_ms,
        "first_ms": ready.first_ms,
        "loads": len(timings.load_rounds),
        "warmup": {"calls": timings.warmup_calls, "seconds": timings.warmup_s},
        "latency_ms": asdict(summarise(timings.wall_ms)),
        "cpu_ms": asdict(summarise(timings.cpu_ms)),
        "device_ms": None if timings.device_ms is None else asdict(summarise(timings.device_ms)),
        "throughput": {
            **asdict(throughput),
            "calls_per_s": throughput.calls / throughput.seconds,
            "samples_per_s": batch * throughput.calls / throughput.seconds,
        },
        "added_rss_mib": ready.added_mib,
        "times_ms": {clock: _rounded(times, every) for clock, times in kept.items()},
        "times_every": every,
    }


def _rounded(times: Times, every: int) -> list[float]:
    """Return every so many-th time, to a microsecond."""
    return [round(float(time), 3) for time in times[::every]]
