"""How long chains of layers take in ONNX Runtime on this machine."""

import math
import random
import time
from collections.abc import Callable, Sequence

from compactmtl.board.bench.chains import Layers, prepare

BATCH = 20
"""Chains that are timed in turns; their weights are in memory together."""

Progress = Callable[[int, int], None]


def time_chains(
    chains: Sequence[Layers],
    *,
    threads: int,
    rounds: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[float]:
    """Return the least nanoseconds of one run of each chain.

    Batches of chains run in turns, in an order drawn anew; the minimum over the rounds counts,
    which other load on the machine disturbs least: CPU time of the process, or elapsed time where
    there are several threads.

    Args:
        chains: What to time.
        threads: Threads of the runtime.
        rounds: How often each is timed.
        seed: For the orders.
        progress: Called after each batch with the chains done and their total.
    """
    generator = random.Random(seed)
    times: list[float] = []
    for start in range(0, len(chains), BATCH):
        times += _time(chains[start : start + BATCH], threads, rounds, generator)
        if progress is not None:
            progress(len(times), len(chains))
    return times


def _time(
    chains: Sequence[Layers], threads: int, rounds: int, generator: random.Random
) -> list[float]:
    clock = time.process_time_ns if threads == 1 else time.perf_counter_ns
    calls = [prepare(chain, threads=threads) for chain in chains]
    best = [math.inf] * len(calls)
    for call in calls:
        call()  # the first run allocates
    order = list(range(len(calls)))
    for _ in range(rounds):
        generator.shuffle(order)
        for number in order:
            repeats = 5 if math.isinf(best[number]) else max(1, min(20, int(1e6 / best[number])))
            call = calls[number]
            for _ in range(2):  # the first brings weights into the caches
                started = clock()
                for _ in range(repeats):
                    call()
                best[number] = min(best[number], (clock() - started) / repeats)
    return best
