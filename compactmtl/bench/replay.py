"""A recorded bench on a Jetson, read and reported as if it were measured now."""

from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.bench.record import BenchRecord, parse_record
from compactmtl.board.bench.statistics import summarise
from compactmtl.board.jetson.describe import describe
from compactmtl.board.jetson.recording import read_recording
from compactmtl.errors import CorruptFileError
from compactmtl.export.board_errors import translated

CLOCKS = ("wall", "cpu", "device")
SUMMARIES = {"wall": "latency_ms", "cpu": "cpu_ms", "device": "device_ms"}


def replay(path: Path) -> BenchRecord:
    """Parse recorded lines of tegrastats and recorded times anew.

    Power, energy, temperatures, clocks and throttling come from the lines; percentiles from the
    times, where all of them were kept. Ratios and verdict are those of the recorded bench.

    Args:
        path: What ``--record-tegrastats`` wrote; see ``compactmtl.board.jetson.recording``.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is no recording, or one without a bench.
    """
    with translated():
        recording = read_recording(path)
        if not recording.document:
            raise CorruptFileError(
                f"`{path}` holds no bench: it ends before the measurement did",
                hint="record it again; a recording is written when the bench is over",
            )
        document = {**recording.document, "device": {"jetson": describe(recording)}}
        return parse_record(_summed_up(document), f"`{path}`")


def _summed_up(document: dict[str, Any]) -> dict[str, Any]:
    candidates = {}
    for name, each in dict(document.get("candidates") or {}).items():
        times = each.get("times_ms") if isinstance(each, dict) else None
        if not isinstance(times, dict) or each.get("times_every") != 1:
            candidates[name] = each
            continue
        candidates[name] = each | {
            SUMMARIES[clock]: vars(summarise(np.array(times[clock], dtype=np.float64)))
            for clock in CLOCKS
            if clock in times
        }
    return {**document, "candidates": candidates}
