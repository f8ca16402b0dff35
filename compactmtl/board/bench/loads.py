"""Time artefacts in turns, each loaded several times.

Where a runtime puts weights and buffers in memory is settled when it loads, and is worth about a
percent of CPU time: two sessions of one file differ by that, steadily, and the one that was loaded
first is the slower one more often than not (`benchmarks/bench`). A comparison of one load with one
load measures this, too, however many rounds it has. So all artefacts are loaded anew several times,
in an order that turns around from one load to the next.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compactmtl.board.bench.limit import Limit
from compactmtl.board.bench.ratio import Ratio, paired_ratio
from compactmtl.board.bench.timing import (
    ROUNDS,
    SECONDS,
    WARMUP_SECONDS,
    Timings,
    check_protocol,
    interleave,
    no_garbage_collection,
)
from compactmtl.board.errors import AskedError

LOADS = 10
MIN_LOADS = 4
MAX_LOADING_S = 60.0
"""Time that the least number of loads may take, where that is more than the measurement's."""
RELOAD_WARMUP_SECONDS = 0.1
"""The machine is warm by then; a session still has buffers to get."""


@dataclass(frozen=True)
class Loaded:
    """An artefact that was just loaded; it goes when this goes.

    Attributes:
        call: What is timed.
        device_clock: Tells how many ms the last call took on an accelerator; None without one.
    """

    call: Callable[[], object]
    device_clock: Callable[[], float] | None = None


def interleave_loads(
    artefacts: Mapping[str, Callable[[], Loaded]],
    *,
    seconds: float = SECONDS,
    rounds: int = ROUNDS,
    loading_s: float = 0.0,
    seed: int = 0,
    on_round: Callable[[], None] | None = None,
    limit: Limit | None = None,
) -> dict[str, Timings]:
    """Load all artefacts and time them in turns, ten times over.

    Where loading takes long, there are fewer loads; see ``num_loads``.

    Args:
        artefacts: Name to what loads it.
        seconds: Shortest total time of the recorded rounds.
        rounds: Least number of recorded rounds.
        loading_s: How long loading all of them takes.
        seed: For the orders.
        on_round: Called after each recorded round, outside the timed parts.
        limit: Told, outside the timed parts, which call runs.

    Raises:
        AskedError: There is nothing to time, or a limit is out of range.
    """
    if not artefacts:
        raise AskedError("nothing to time")
    check_protocol(seconds, rounds)
    generator = random.Random(seed)
    order = list(artefacts)
    places: dict[str, list[int]] = {name: [] for name in artefacts}
    parts: list[dict[str, Timings]] = []
    loads = num_loads(loading_s, seconds)
    with no_garbage_collection():
        while len(parts) < loads:
            if len(parts) % 2:
                order.reverse()  # whoever came first comes last, so every pair has both orders
            elif parts:
                generator.shuffle(order)
            loaded = {name: artefacts[name]() for name in order}
            for place, name in enumerate(order):
                places[name].append(place)
            parts.append(
                interleave(
                    {name: each.call for name, each in loaded.items()},
                    seconds=seconds / loads,
                    rounds=-(-rounds // loads),
                    warmup_seconds=RELOAD_WARMUP_SECONDS if parts else WARMUP_SECONDS,
                    seed=generator.getrandbits(32),
                    on_round=on_round,
                    device_clocks={
                        name: each.device_clock
                        for name, each in loaded.items()
                        if each.device_clock
                    },
                    limit=limit,
                )
            )
            del loaded  # before the next ones are loaded: memory holds one of each
    return {name: _join([part[name] for part in parts], tuple(places[name])) for name in artefacts}


def _join(parts: Sequence[Timings], places: tuple[int, ...]) -> Timings:
    device = [part.device_ms for part in parts if part.device_ms is not None]
    return Timings(
        wall_ms=np.concatenate([part.wall_ms for part in parts]),
        cpu_ms=np.concatenate([part.cpu_ms for part in parts]),
        device_ms=np.concatenate(device) if device else None,
        warmup_calls=sum(part.warmup_calls for part in parts),
        warmup_s=sum(part.warmup_s for part in parts),
        load_rounds=tuple(len(part.wall_ms) for part in parts),
        places=places,
    )


def num_loads(loading_s: float, seconds: float) -> int:
    """Return how often to load what takes ``loading_s`` to load once.

    Ten times; or an even number, at least four, that takes no longer than ``seconds``; or four,
    if that takes no longer than a minute; or once, and then the intervals do not hold what loading
    settles.
    """
    affordable = int(seconds / loading_s) if loading_s > 0 else LOADS
    if affordable >= MIN_LOADS:
        return min(LOADS, affordable // 2 * 2)
    return MIN_LOADS if MIN_LOADS * loading_s <= MAX_LOADING_S else 1


def ratio_of(numerator: Timings, denominator: Timings, *, clock: str) -> Ratio:
    """Return ``paired_ratio`` of two calls of one measurement; ``clock`` is cpu, wall or device.

    Raises:
        RunError: There are fewer than two rounds, or the clock is too coarse.
    """
    return paired_ratio(
        getattr(numerator, f"{clock}_ms"),
        getattr(denominator, f"{clock}_ms"),
        load_rounds=numerator.load_rounds,
        loaded_first=[
            one < other for one, other in zip(numerator.places, denominator.places, strict=True)
        ],
    )
