"""A paced run of one artefact, alone or beside another: the section ``paced`` of a record."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from compactmtl.board.bench.alongside import alongside
from compactmtl.board.bench.items import Item
from compactmtl.board.bench.limit import TimeLimit
from compactmtl.board.bench.memory import PeakMemory
from compactmtl.board.bench.misses import PacedResult, account
from compactmtl.board.bench.paced import Pace, run_paced
from compactmtl.board.bench.prepare import prepare
from compactmtl.board.bench.run import Settings
from compactmtl.board.bench.thermometer import LINUX, Source, Thermometer
from compactmtl.board.errors import AskedError
from compactmtl.board.files import read_bytes, sha256
from compactmtl.board.stored import Stored
from compactmtl.board.tensors import Array


@dataclass(frozen=True)
class PacedPlan:
    """What is asked of a paced run.

    Attributes:
        pace: Rate, deadline and duration.
        max_misses: The most misses that are accepted; None: any number.
        other: An artefact that runs in a loop in a second process meanwhile; None: none.

    Raises:
        AskedError: ``max_misses`` is negative.
    """

    pace: Pace
    max_misses: int | None = None
    other: Path | None = None

    def __post_init__(self) -> None:
        if self.max_misses is not None and self.max_misses < 0:
            raise AskedError(f"max misses (={self.max_misses}) must not be negative")


@dataclass(frozen=True)
class Beside:
    """The artefact that ran in a loop in a second process: how often, and in how long."""

    file: str
    sha256: str
    runtime: str
    num_calls: int
    seconds: float


@dataclass(frozen=True)
class PacedSection:
    """The section ``paced`` of a record.

    Attributes:
        candidate: Which of the record's candidates ran.
        max_misses: The most misses that were accepted; None: any number.
        verdict: ``missed`` where there were more.
        alongside: What ran beside it; None: nothing of ours.
        found: The figures.
        thermometer: Where its temperatures come from; empty: nothing told any.
    """

    candidate: str
    max_misses: int | None
    verdict: Literal["ok", "missed"]
    alongside: Beside | None
    found: PacedResult
    thermometer: str = ""

    def judged(self, max_misses: int | None) -> "PacedSection":
        """Return it with a verdict by the most misses that are accepted; None: any number."""
        missed = max_misses is not None and self.found.num_misses > max_misses
        return replace(self, max_misses=max_misses, verdict="missed" if missed else "ok")


def the_one(items: Mapping[str, Item]) -> str:
    """Return the name of the only candidate.

    Raises:
        AskedError: There are several.
    """
    if len(items) != 1:
        raise AskedError(
            f"a paced run takes one file, got {len(items)}: {', '.join(items)}",
            hint="name one; --alongside names another that runs meanwhile",
        )
    return next(iter(items))


def measure_paced(
    items: Mapping[str, Item],
    plan: PacedPlan,
    settings: Settings,
    *,
    stored: Stored | None = None,
    thermometer: Source = LINUX,
    limit: TimeLimit | None = None,
    on_frame: Callable[[], None] | None = None,
) -> PacedSection:
    """Load an artefact and run it at a pace.

    Args:
        items: The artefact, by the name that the record calls it.
        plan: What is asked.
        settings: Threads, batch and size, which hold for the other artefact, too.
        stored: Samples to run on; None: random values.
        thermometer: What is read once a second.
        limit: The longest that a call may take, already looking.
        on_frame: Called after each frame.

    Raises:
        AskedError: There are several artefacts, or one does not take the settings.
        RunError: The other artefact cannot run, or ended early.
        BoardError: The artefact cannot be loaded or run.
    """
    name = the_one(items)
    guard = limit.during if limit else lambda name: nullcontext()
    ready = prepare(
        name,
        items[name],
        stored,
        batch=settings.batch,
        size=settings.size,
        memory=PeakMemory(),
        guard=guard,
    )
    beside = None
    with ExitStack() as stack:
        if plan.other is not None:
            competitor = stack.enter_context(
                alongside(
                    plan.other,
                    threads=settings.threads,
                    batch=settings.batch,
                    size=settings.size or _size_of(ready.inputs),
                )
            )
        with Thermometer(thermometer) as readings:
            frames = run_paced(ready.call, plan.pace, name=name, limit=limit, on_frame=on_frame)
    if plan.other is not None:  # what it did is known when it has ended
        digest = sha256(read_bytes(plan.other))
        beside = Beside(plan.other.name, digest, **asdict(competitor))
    found = account(frames, plan.pace, readings.readings)
    told = thermometer.name if readings.readings else ""
    return PacedSection(name, None, "ok", beside, found, told).judged(plan.max_misses)


def _size_of(inputs: Mapping[str, Array]) -> tuple[int, int] | None:
    """Return height and width of the first image; None without one."""
    images = ((array.shape[2], array.shape[3]) for array in inputs.values() if array.ndim == 4)
    return next(images, None)
