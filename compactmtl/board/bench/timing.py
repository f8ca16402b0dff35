"""Time several calls against each other in one process, in turns."""

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compactmtl.board.errors import AskedError

SECONDS = 10.0
ROUNDS = 50
WARMUP_SECONDS = 0.5
WARMUP_ROUNDS = 3

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Timings:
    """Times of one call, in milliseconds, one entry per round.

    Attributes:
        wall_ms: Elapsed time.
        cpu_ms: CPU time of the whole process, all threads together.
    """

    wall_ms: Times
    cpu_ms: Times


def interleave(
    calls: Mapping[str, Callable[[], object]],
    *,
    seconds: float = SECONDS,
    rounds: int = ROUNDS,
    seed: int = 0,
    on_round: Callable[[], None] | None = None,
) -> dict[str, Timings]:
    """Time all calls in turns, until both limits are reached.

    Unit: milliseconds.
    Protocol: warm-up of at least 3 rounds and half a second, not recorded. Then rounds: in each,
    every call runs once, in an order drawn anew, so that drift of the machine and what one call
    leaves in the caches hit all of them alike. The garbage collector is off meanwhile.

    Args:
        calls: Name to call; a call is over when it returns.
        seconds: Shortest total time of the recorded rounds.
        rounds: Least number of recorded rounds.
        seed: For the orders.
        on_round: Called after each recorded round, outside the timed parts.

    Raises:
        AskedError: There is nothing to time, or a limit is out of range.
    """
    if not calls:
        raise AskedError("nothing to time")
    if rounds < 1:
        raise AskedError(f"rounds (={rounds}) must be at least 1: nothing would be measured")
    if not 0 <= seconds < float("inf"):
        raise AskedError(f"seconds (={seconds}) must be a number of at least 0")
    names = list(calls)
    shuffle = random.Random(seed).shuffle
    wall: dict[str, list[int]] = {name: [] for name in names}
    cpu: dict[str, list[int]] = {name: [] for name in names}

    def one_round() -> None:
        shuffle(names)
        for name in names:
            call = calls[name]
            wall_start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
            call()
            cpu_end, wall_end = time.process_time_ns(), time.perf_counter_ns()
            wall[name].append(wall_end - wall_start)
            cpu[name].append(cpu_end - cpu_start)

    with _no_garbage_collection():
        _repeat(one_round, seconds=min(WARMUP_SECONDS, seconds), rounds=min(WARMUP_ROUNDS, rounds))
        for times in (*wall.values(), *cpu.values()):
            times.clear()
        _repeat(one_round, seconds=seconds, rounds=rounds, on_round=on_round)
    return {
        name: Timings(
            wall_ms=np.array(wall[name], dtype=np.float64) / 1e6,
            cpu_ms=np.array(cpu[name], dtype=np.float64) / 1e6,
        )
        for name in calls
    }


def _repeat(
    one_round: Callable[[], None],
    *,
    seconds: float,
    rounds: int,
    on_round: Callable[[], None] | None = None,
) -> None:
    started, done = time.perf_counter(), 0
    while done < rounds or time.perf_counter() - started < seconds:
        one_round()
        done += 1
        if on_round is not None:
            on_round()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
