"""The part of `compactmtl compare` and `sweep` that comes before their first run."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from compactmtl.cli.console import console
from compactmtl.cli.train_progress import TrainProgress
from compactmtl.cli.train_target import cost_of
from compactmtl.study.rehearsal import new_subjects, rehearse_subjects
from compactmtl.study.subjects import Subject


def rehearse(subjects: Sequence[Subject], out: Path, device: str) -> None:
    """Refuse now what a run would be refused for later."""
    new = new_subjects(subjects, out)
    if not new:
        return
    with TrainProgress() as progress, console.progress("check recipes", len(new)) as advance:
        rehearse_subjects(
            new,
            device=device,
            cost_of=partial(cost_of, table=None, assume=False),  # as `train` is called for a run
            reporter=progress,
            on_done=advance,
        )
