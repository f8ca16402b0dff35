"""The options of `bench` for a paced run, and how it is printed."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.errors import MissedError

if TYPE_CHECKING:
    from compactmtl.bench.record import BenchRecord
    from compactmtl.board.bench.paced_run import PacedPlan
    from compactmtl.board.bench.progress import Progress

Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        metavar="HZ",
        help="Then run the one file as a camera would: frames come on a fixed schedule; of those "
        "that come while one is computed, the newest waits and the others are dropped.",
    ),
]
Deadline = Annotated[
    float | None, typer.Option("--deadline-ms", metavar="MS", help="A later result is a miss.")
]
Duration = Annotated[
    str | None, typer.Option("--duration", metavar="TIME", help="30s, 10m, 2h [default: 1m].")
]
Alongside = Annotated[
    Path | None,
    typer.Option("--alongside", metavar="FILE", help="Runs in a loop in a second process."),
]
MaxMisses = Annotated[
    int | None, typer.Option("--max-misses", metavar="N", help="Exit 1 on more misses.")
]


def paced_plan(
    rate: float | None,
    deadline_ms: float | None,
    duration: str | None,
    alongside: Path | None,
    max_misses: int | None,
) -> "PacedPlan | None":
    """Read what was typed; None where no paced run was asked for.

    Raises:
        UsageError: A value is out of range, or one is missing.
    """
    from compactmtl.board.bench.paced_verb import make_plan
    from compactmtl.export.board_errors import translated

    with translated():
        return make_plan(
            rate=rate,
            deadline_ms=deadline_ms,
            duration=duration,
            other=alongside,
            max_misses=max_misses,
        )


def frames(plan: "PacedPlan | None") -> "Progress | None":
    """Return what counts frames in a line now and then: a bar would keep the processor awake."""
    from compactmtl.board.bench.progress import Progress

    return None if plan is None else Progress("frames", plan.pace.num_frames, say=console.info)


def show_paced(record: "BenchRecord") -> None:
    """Print a record's paced run, if there is one: its figures, then the run in parts."""
    from compactmtl.board.bench.paced_words import paced_lines

    if record.paced is None:
        return
    lines = paced_lines(asdict(record.paced))
    console.table("", ("",), [[line] for line in lines])
    rows = [
        [each.begin_s, each.num_frames, each.num_misses, each.p50_ms, each.max_ms,
         each.temperature_c]
        for each in record.paced.found.windows
    ]  # fmt: skip
    console.table("", ("from s", "frames", "missed", "p50 ms", "worst ms", "hottest C"), rows)


def missed(record: "BenchRecord") -> MissedError | None:
    """Return the error of a paced run that missed more frames than accepted; None of others."""
    from compactmtl.board.bench import paced_words

    found = paced_words.missed(asdict(record.paced) if record.paced else None)
    return MissedError(found.message) if found else None
