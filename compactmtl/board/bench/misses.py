"""What became of the frames of a paced run, in figures: misses, response times, over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from compactmtl.board.bench.paced import Frames, Pace
from compactmtl.board.bench.statistics import Summary, summarise
from compactmtl.board.bench.thermometer import Reading

NUM_WINDOWS = 10
"""Parts of equal length that a run is shown in."""


@dataclass(frozen=True)
class Window:
    """A part of a run.

    Attributes:
        begin_s: Begin, after the start of the run.
        end_s: End.
        num_frames: Released in it.
        num_misses: Of these.
        p50_ms: Median response time; None where every frame was dropped.
        max_ms: Longest response time; None where every frame was dropped.
        temperature_c: Highest temperature read in it; None where none was read.
    """

    begin_s: float
    end_s: float
    num_frames: int
    num_misses: int
    p50_ms: float | None
    max_ms: float | None
    temperature_c: float | None


@dataclass(frozen=True)
class PacedResult:
    """What a paced run found.

    Attributes:
        rate: Frames per second asked for.
        deadline_ms: A longer response is a miss.
        seconds: Time over which frames were released.
        num_frames: Frames released.
        num_misses: Frames whose response took longer than the deadline, or that were dropped.
        num_dropped: Frames that a newer one replaced while the call before them ran.
        num_waited: Frames released while the call before them ran, and computed after it.
        longest_run: Most misses one after the other.
        response_ms: From release to result, of the frames that were not dropped.
        worst_ms: The longest of them.
        call_ms: From the begin of the call to its end, of the same frames.
        wakeup_ms: From release to the begin of the call, of frames that nothing kept waiting:
            how late the system woke the process up.
        windows: The run in parts.
    """

    rate: float
    deadline_ms: float
    seconds: float
    num_frames: int
    num_misses: int
    num_dropped: int
    num_waited: int
    longest_run: int
    response_ms: Summary
    worst_ms: float
    call_ms: Summary
    wakeup_ms: Summary
    windows: tuple[Window, ...]


def find_misses(frames: Frames, deadline_ms: float) -> npt.NDArray[np.bool_]:
    """Tell for each frame, shape (n,), whether it was missed."""
    return ~(frames.response_ms <= deadline_ms)  # NaN, a dropped frame, is within no deadline


def longest_run(missed: npt.NDArray[np.bool_]) -> int:
    """Return the most frames missed one after the other."""
    hits = np.flatnonzero(np.concatenate(([True], ~missed, [True])))
    return int(np.diff(hits).max()) - 1


def account(frames: Frames, pace: Pace, readings: Sequence[Reading] = ()) -> PacedResult:
    """Return the figures of a run; ``readings`` are temperatures on the same clock."""
    missed = find_misses(frames, pace.deadline_ms)
    kept = ~np.isnan(frames.response_ms)
    return PacedResult(
        rate=pace.rate,
        deadline_ms=pace.deadline_ms,
        seconds=pace.seconds,
        num_frames=len(missed),
        num_misses=int(missed.sum()),
        num_dropped=int((~kept).sum()),
        num_waited=int(frames.waited.sum()),
        longest_run=longest_run(missed),
        response_ms=summarise(frames.response_ms[kept]),
        worst_ms=float(frames.response_ms[kept].max()),
        call_ms=summarise((frames.response_ms - frames.begin_ms)[kept]),
        wakeup_ms=summarise(frames.begin_ms[kept & ~frames.waited]),
        windows=tuple(_windows(frames, missed, pace, readings)),
    )


def _windows(
    frames: Frames, missed: npt.NDArray[np.bool_], pace: Pace, readings: Sequence[Reading]
) -> list[Window]:
    edges = np.linspace(0, pace.seconds, min(NUM_WINDOWS, len(missed)) + 1)
    found = []
    for begin, end in pairwise(edges):
        inside = (frames.release_s >= begin) & (frames.release_s < end)
        responses = frames.response_ms[inside]
        responses = responses[~np.isnan(responses)]
        seconds = [((each.at_ns - frames.start_ns) / 1e9, each.celsius) for each in readings]
        temperatures = [celsius for second, celsius in seconds if begin <= second < end]
        found.append(
            Window(
                begin_s=round(float(begin), 3),
                end_s=round(float(end), 3),
                num_frames=int(inside.sum()),
                num_misses=int(missed[inside].sum()),
                p50_ms=float(np.median(responses)) if len(responses) else None,
                max_ms=float(responses.max()) if len(responses) else None,
                temperature_c=max(temperatures, default=None),
            )
        )
    return found
