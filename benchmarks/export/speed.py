"""CPU time of artefacts, interleaved in this process; ratios within one runtime."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conversion import one_line

from compactmtl.bench import bench
from compactmtl.board.bench.ratio import paired_ratio
from compactmtl.board.bench.statistics import why_noisy
from compactmtl.board.bench.timing import interleave

Row = dict[str, Any]
Artefact = tuple[Row, Path]
Timed = tuple[list[Row], Row]
"""The figures of each, and the record of the measurement."""


@dataclass(frozen=True)
class Protocol:
    """How long is measured.

    Attributes:
        seconds: Least time of one interleaved measurement.
        rounds: Least number of its rounds.
        threads: Of each runtime.
    """

    seconds: float
    rounds: int
    threads: int


def add_times(artefacts: Sequence[Artefact], timer: Callable[[], Timed]) -> Row:
    """Time artefacts, add the figures to their rows, and return the record."""
    if not artefacts:
        return {"verdict": "nothing to time", "why": []}
    try:
        figures, record = timer()
    except Exception as failure:  # noqa: BLE001 - whatever a runtime raises is its result
        return {"verdict": "failed", "why": [one_line(failure)]}
    for (row, _), figure in zip(artefacts, figures, strict=True):
        row.update(figure)
    return record


def time_files(files: Sequence[Path], protocol: Protocol) -> Timed:
    """Time files in the runners of the bench; return their figures in order, and the record.

    A ratio is that of the runtime's first file over the file.
    """
    record = bench(
        files, threads=protocol.threads, seconds=protocol.seconds, rounds=protocol.rounds
    )
    figures = []
    firsts: dict[str, str] = {}
    for name, candidate in record.candidates.items():
        figure: Row = {"runtime": candidate.runtime, "macs": candidate.macs}
        first = firsts.setdefault(candidate.runtime, name)
        if first != name:
            ratio = record.ratios[f"{first}/{name}"]
            figure |= speedup(first, ratio.cpu, ratio.cpu_interval)
        figures.append(figure | {"cpu_ms_p50": candidate.cpu_ms.p50})
    return figures, record.model_dump(mode="json")


def time_programs(programs: Mapping[str, Callable[[], object]], protocol: Protocol) -> Timed:
    """Time what torch itself runs, for which the bench has no runner; otherwise alike."""
    torch.set_num_threads(protocol.threads)
    times = interleave(programs, seconds=protocol.seconds, rounds=protocol.rounds)
    first = next(iter(times))
    ratios = {
        name: paired_ratio(times[first].cpu_ms, timing.cpu_ms)
        for name, timing in times.items()
        if name != first
    }
    figures = []
    for name, timing in times.items():
        figure: Row = {"runtime": f"torch {torch.__version__}"}
        if name in ratios:
            ratio = ratios[name]
            figure |= speedup(first, ratio.value, (ratio.low, ratio.high))
        figures.append(figure | {"cpu_ms_p50": float(np.median(timing.cpu_ms))})
    why = why_noisy(times, ratios, computing=times if protocol.threads == 1 else ())
    return figures, {"verdict": "noisy" if why else "ok", "why": why}


def speedup(over: str, ratio: float, interval: tuple[float, float]) -> Row:
    """Say how many times the CPU time of ``over`` is."""
    return {"over": over, "speedup_cpu": ratio, "interval_95": interval}


def timed(row: Row) -> str:
    """Return CPU time and speed-up for a table."""
    if "cpu_ms_p50" not in row:
        return f"{'not timed':>32}"
    low, high = row.get("interval_95", (1.0, 1.0))
    return f"{row['cpu_ms_p50']:8.2f} {row.get('speedup_cpu', 1.0):9.2f} {low:6.2f} -{high:5.2f}"


def verdicts(records: Mapping[str, Row]) -> str:
    """Return what the measurements say of themselves, each with its first reason."""
    return "; ".join(
        " - ".join([f"{name} {record['verdict']}", *record["why"][:1]])
        for name, record in records.items()
    )
