"""CPU time of artefacts, interleaved in one run of the bench."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conversion import one_line

from compactmtl.bench import bench

Row = dict[str, Any]
Artefact = tuple[Row, Path]
PRIORITY = 50


@dataclass(frozen=True)
class Protocol:
    """How long is measured, and where.

    Attributes:
        seconds: Least time of one interleaved measurement.
        rounds: Least number of its rounds.
        threads: Of each runtime.
        core: CPU core to measure on, in the real-time class, so that nothing else runs there
            meanwhile; needs root, and Linux. None: as the system likes.
    """

    seconds: float
    rounds: int
    threads: int
    core: int | None = None


def add_times(artefacts: Sequence[Artefact], protocol: Protocol) -> Row:
    """Time artefacts, add the figures to their rows, and return what the bench says of the run.

    ``speedup_cpu`` is the CPU time of the runtime's first artefact over this one's; where that is
    the artefact itself, ``over_first`` is that of the very first artefact over this one's.
    """
    if not artefacts:
        return {"verdict": "nothing to time", "why": []}
    files = [path for _, path in artefacts]
    try:
        with alone_on(protocol.core):
            record = bench(
                files, threads=protocol.threads, seconds=protocol.seconds,
                rounds=protocol.rounds, torch=["eager"],
            )  # fmt: skip
    except Exception as failure:  # noqa: BLE001 - whatever a runtime raises is its result
        return {"verdict": "failed", "why": [one_line(failure)]}
    firsts: dict[str, str] = {}
    for (row, _), (name, candidate) in zip(artefacts, record.candidates.items(), strict=True):
        first = firsts.setdefault(candidate.runtime, name)
        row |= {
            "runtime": candidate.runtime,
            "macs": candidate.macs,
            "cpu_ms_p50": candidate.cpu_ms.p50,
            "loads": candidate.loads,
        }
        baseline = next(iter(firsts.values()))
        if ratio := record.ratios.get(f"{first}/{name}"):
            row |= {"over": first, "speedup_cpu": ratio.cpu, "interval_95": ratio.cpu_interval}
        elif ratio := record.ratios.get(f"{baseline}/{name}"):
            row["over_first"] = {"cpu": ratio.cpu, "interval_95": ratio.cpu_interval}
    kept = {"settings", "verdict", "why", "load_average"}
    return record.model_dump(mode="json", include=kept)


@contextmanager
def alone_on(core: int | None) -> Iterator[None]:
    """Run the block, and the processes that it starts, on one core that nothing else gets."""
    if core is None:
        yield
        return
    cores, policy, priority = (
        os.sched_getaffinity(0),
        os.sched_getscheduler(0),
        os.sched_getparam(0),
    )
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)
        os.sched_setaffinity(0, cores)


def timed(row: Row) -> str:
    """Return CPU time and speed-up for a table."""
    if "cpu_ms_p50" not in row:
        return f"{'not timed':>32}"
    low, high = row.get("interval_95", (1.0, 1.0))
    return f"{row['cpu_ms_p50']:8.2f} {row.get('speedup_cpu', 1.0):9.2f} {low:6.2f} -{high:5.2f}"


def verdict(record: Row) -> str:
    """Return what a measurement says of itself, with its first reason."""
    return " - ".join([record["verdict"], *record["why"][:1]])
