"""Time several calls against each other in one process, in turns; and one alone, back to back."""

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compactmtl.board.bench.limit import Limit, Unlimited
from compactmtl.board.errors import AskedError
from compactmtl.board.own_times import OwnTimes

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
        device_ms: Time on the accelerator by its own clock; None where there is none.
        warmup_calls: Calls before the first that is recorded.
        warmup_s: Wall time of all calls' warm-up together.
        load_rounds: Rounds of each load of the artefact, in order; empty where it was loaded once.
        places: For each load, how many other candidates were loaded before.
    """

    wall_ms: Times
    cpu_ms: Times
    device_ms: Times | None = None
    warmup_calls: int = 0
    warmup_s: float = 0.0
    load_rounds: tuple[int, ...] = ()
    places: tuple[int, ...] = ()


@dataclass(frozen=True)
class Throughput:
    """What back-to-back calls of one candidate gave, by one caller, without overlap.

    Attributes:
        calls: How many.
        seconds: From the begin of the first to the end of the last; the sum of all where another
            process ran them.
    """

    calls: int
    seconds: float


def interleave(
    calls: Mapping[str, Callable[[], object]],
    *,
    seconds: float = SECONDS,
    rounds: int = ROUNDS,
    warmup_seconds: float = WARMUP_SECONDS,
    seed: int = 0,
    on_round: Callable[[], None] | None = None,
    device_clocks: Mapping[str, Callable[[], float]] | None = None,
    limit: Limit | None = None,
) -> dict[str, Timings]:
    """Time all calls in turns, until both limits are reached.

    Unit: milliseconds.
    Protocol: warm-up of at least 3 rounds and ``warmup_seconds``, not recorded. Then rounds: in
    each, every call runs once, in an order drawn anew, so that drift of the machine and what one
    call leaves in the caches hit all of them alike. The garbage collector is off meanwhile.

    Args:
        calls: Name to call; a call is over when it returns.
        seconds: Shortest total time of the recorded rounds.
        rounds: Least number of recorded rounds.
        warmup_seconds: Shortest time of the warm-up, where ``seconds`` is not less.
        seed: For the orders.
        on_round: Called after each recorded round, outside the timed parts.
        device_clocks: Name to what tells how many ms the last call took on an accelerator; asked
            after each call, outside the timed part.
        limit: Told, outside the timed parts, which call runs.

    Raises:
        AskedError: There is nothing to time, or a limit is out of range.
    """
    if not calls:
        raise AskedError("nothing to time")
    check_protocol(seconds, rounds)
    names = list(calls)
    shuffle = random.Random(seed).shuffle
    guard = limit or Unlimited()
    clocks = device_clocks or {}
    wall: dict[str, list[int]] = {name: [] for name in names}
    cpu: dict[str, list[int]] = {name: [] for name in names}
    device: dict[str, list[float]] = {name: [] for name in clocks}

    def one_round() -> None:
        shuffle(names)
        for name in names:
            call = calls[name]
            guard.begin(name)
            wall_start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
            call()
            cpu_end, wall_end = time.process_time_ns(), time.perf_counter_ns()
            guard.end()
            if isinstance(call, OwnTimes):
                wall_start, wall_end, cpu_start, cpu_end = 0, call.wall_ns, 0, call.cpu_ns
            wall[name].append(wall_end - wall_start)
            cpu[name].append(cpu_end - cpu_start)
            if name in clocks:
                device[name].append(clocks[name]())

    with no_garbage_collection():
        started = time.perf_counter()
        _repeat(one_round, seconds=min(warmup_seconds, seconds), rounds=min(WARMUP_ROUNDS, rounds))
        warmup_s, warmup_calls = time.perf_counter() - started, len(wall[names[0]])
        for name in names:
            wall[name].clear()
            cpu[name].clear()
        for times in device.values():
            times.clear()
        _repeat(one_round, seconds=seconds, rounds=rounds, on_round=on_round)
    return {
        name: Timings(
            wall_ms=np.array(wall[name], dtype=np.float64) / 1e6,
            cpu_ms=np.array(cpu[name], dtype=np.float64) / 1e6,
            device_ms=np.array(device[name], dtype=np.float64) if name in clocks else None,
            warmup_calls=warmup_calls,
            warmup_s=warmup_s,
        )
        for name in calls
    }


def back_to_back(
    call: Callable[[], object],
    *,
    seconds: float,
    ran: Callable[[], None],
    name: str = "",
    limit: Limit | None = None,
) -> Throughput:
    """Call without a pause until the time is up, at least three times.

    Args:
        call: What is called.
        seconds: Shortest total time.
        ran: Called after each call.
        name: What the limit calls it.
        limit: Told which call runs.
    """
    guard = limit or Unlimited()
    calls = own_ns = 0
    with no_garbage_collection():
        started = time.perf_counter()
        while calls < WARMUP_ROUNDS or time.perf_counter() - started < seconds:
            guard.begin(name)
            call()
            guard.end()
            ran()
            calls += 1
            if isinstance(call, OwnTimes):
                own_ns += call.wall_ns
        seconds = time.perf_counter() - started
        return Throughput(calls, own_ns / 1e9 if isinstance(call, OwnTimes) else seconds)


def check_protocol(seconds: float, rounds: int) -> None:
    """Refuse limits of a measurement that are none.

    Raises:
        AskedError: One is out of range.
    """
    if rounds < 1:
        raise AskedError(f"rounds (={rounds}) must be at least 1: nothing would be measured")
    if not 0 <= seconds < float("inf"):
        raise AskedError(f"seconds (={seconds}) must be a number of at least 0")


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
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage, then keep the collector off in the block; nothing where it is off."""
    if not gc.isenabled():
        yield
        return
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
