"""The options of ``python -m compactmtl.board bench`` that ask for a paced run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compactmtl.board.errors import AskedError
from compactmtl.board.words import parse_duration

if TYPE_CHECKING:
    from compactmtl.board.bench.paced_run import PacedPlan


def add_paced(add: Any) -> None:
    """Add the options to a command line."""
    add("--rate", type=float, metavar="HZ", help="Run one file at this pace, as a camera would.")
    add("--deadline-ms", type=float, metavar="MS", help="A later result is a miss.")
    add("--duration", metavar="TIME", help="How long: 30s, 10m, 2h (default: 1m).")
    add("--alongside", type=Path, metavar="FILE", help="Runs in a loop in a second process.")
    add("--max-misses", type=int, metavar="N", help="Exit 1 on more.")


def plan_of(asked: argparse.Namespace) -> "PacedPlan | None":
    """Return what was asked for; None without ``--rate``."""
    return make_plan(
        rate=asked.rate,
        deadline_ms=asked.deadline_ms,
        duration=asked.duration,
        other=asked.alongside,
        max_misses=asked.max_misses,
    )


def make_plan(
    *,
    rate: float | None,
    deadline_ms: float | None,
    duration: str | None,
    other: Path | None,
    max_misses: int | None,
) -> "PacedPlan | None":
    """Return a plan from the options' values; None where none was given.

    Raises:
        AskedError: One is out of range, or those that it needs are missing.
    """
    from compactmtl.board.bench.paced import Pace
    from compactmtl.board.bench.paced_run import PacedPlan

    if rate is None or deadline_ms is None:
        if (rate, deadline_ms, duration, other, max_misses) == (None,) * 5:
            return None
        raise AskedError(
            "a paced run needs --rate and --deadline-ms",
            hint="as in --rate 30 --deadline-ms 12 --duration 10m",
        )
    seconds = parse_duration(duration or "1m")
    return PacedPlan(Pace(rate, deadline_ms, seconds), max_misses, other)
