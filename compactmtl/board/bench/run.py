"""One bench on this machine: load, check, time in turns, judge; the record as JSON data.

``compactmtl bench`` runs it on a workstation and adds what only it can count; ``python -m
compactmtl.board bench`` runs it on a board. The document is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from compactmtl.board.bench.document import FORMAT_VERSION, describe_candidate
from compactmtl.board.bench.items import Item
from compactmtl.board.bench.judge import Pair, judge, pairs_of
from compactmtl.board.bench.limit import TimeLimit
from compactmtl.board.bench.loads import Loaded, interleave_loads
from compactmtl.board.bench.memory import PeakMemory
from compactmtl.board.bench.prepare import Guard, Ready, prepare
from compactmtl.board.bench.timing import (
    ROUNDS,
    SECONDS,
    Throughput,
    back_to_back,
    check_protocol,
)
from compactmtl.board.bench.watch import Unwatched, Watch
from compactmtl.board.errors import AskedError
from compactmtl.board.machine import load_average
from compactmtl.board.stored import Stored

ALONE_SHARE = 0.25
"""Time for the back-to-back calls of each candidate, as a share of that of the timing in turns."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is measured.

    Attributes:
        device: What the user asked for: ``cpu``, ``cuda``, ``jetson``.
        threads: Threads of each runtime on the CPU.
        batch: Batch size.
        size: Height and width; None: those of the stored samples.
        seconds: Least time of the timing in turns.
        rounds: Least number of its rounds.

    Raises:
        AskedError: One is out of range.
    """

    device: str = "cpu"
    threads: int = 1
    batch: int = 1
    size: tuple[int, int] | None = None
    seconds: float = SECONDS
    rounds: int = ROUNDS

    def __post_init__(self) -> None:
        for name in ("threads", "batch"):
            if getattr(self, name) < 1:
                raise AskedError(f"{name} (={getattr(self, name)}) must be at least 1")
        check_protocol(self.seconds, self.rounds)


def measure(
    items: Mapping[str, Item],
    settings: Settings,
    *,
    environment: Mapping[str, Any],
    stored: Stored | None = None,
    also: Sequence[Pair] = (),
    left_out: Mapping[str, str] | None = None,
    watch: Watch | None = None,
    limit: TimeLimit | None = None,
    on_round: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Measure all items in one interleaved run.

    First all are loaded and run once. Then they are timed in turns, loaded anew several times; then
    each is called back to
    back for a quarter as long, for its throughput and, where somebody watches, its power.

    Args:
        items: By name; the first is the baseline of the ratios.
        settings: How.
        environment: What it is measured on; goes into the document as it is.
        stored: Samples to run on; None: random values.
        also: Pairs whose ratio is wanted beside the usual ones.
        left_out: What was not measured, and why; goes into the document as it is.
        watch: Is told what runs when. What it finds is the caller's to put under ``device``.
        limit: The longest that a call may take, already looking.
        on_round: Called after each round.

    Returns:
        The record, format version 2, without ``macs`` and the like.

    Raises:
        AskedError: There is nothing to measure, or a candidate does not take the settings.
        NotFiniteError: A candidate yields NaN or Inf.
        BoardError: A candidate cannot be loaded or run.
    """
    if not items:
        raise AskedError("nothing to bench")
    memory, observer = PeakMemory(), watch or Unwatched()
    load_before = load_average()
    guard = limit.during if limit else lambda name: nullcontext()
    ready = {
        name: prepare(
            name, item, stored, batch=settings.batch, size=settings.size, memory=memory, guard=guard
        )
        for name, item in items.items()
    }
    with observer.window("timing"):
        timings = interleave_loads(
            {name: partial(_reload, name, each, guard) for name, each in ready.items()},
            seconds=settings.seconds,
            rounds=settings.rounds,
            loading_s=sum(each.load_ms + each.first_ms for each in ready.values()) / 1e3,
            on_round=on_round,
            limit=limit,
        )
    throughput: dict[str, Throughput] = {}
    for name, each in ready.items():
        with observer.window("alone", name) as ran:
            throughput[name] = back_to_back(
                each.call,
                seconds=ALONE_SHARE * settings.seconds,
                ran=ran,
                name=name,
                limit=limit,
            )
    first = next(iter(ready.values()))
    judged = judge(
        timings,
        pairs_of({name: each.session.runtime for name, each in ready.items()}, also),
        on_cpu={name for name, each in ready.items() if each.session.device == "cpu"},
        threads=settings.threads,
    )
    asked = asdict(settings)
    del asked["size"]  # the shapes say it
    return {
        "format_version": FORMAT_VERSION,
        "environment": dict(environment),
        "settings": {
            **asked,
            "shapes": {name: list(array.shape) for name, array in first.inputs.items()},
            "inputs": first.source,
        },
        "candidates": {
            name: describe_candidate(ready[name], timings[name], throughput[name], settings.batch)
            for name in ready
        },
        **judged,
        "left_out": dict(left_out or {}),
        "load_average": {"before": load_before, "after": load_average()},
        "peak_rss_mib": memory.total(),
        "device": {},
    }


def _reload(name: str, ready: Ready, guard: Guard) -> Loaded:
    with guard(name):
        return ready.reload()
