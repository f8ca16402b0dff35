"""The part of `compare`, `sweep` and `reproduce` that comes before their first run."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from compactmtl.cli.console import console
from compactmtl.cli.train_progress import TrainProgress
from compactmtl.cli.train_target import cost_of
from compactmtl.study.cells import RunCell
from compactmtl.study.rehearsal import rehearse_subjects
from compactmtl.study.subjects import Subject
from compactmtl.training.rehearsal import Estimate


def runs_left(cells: Sequence[RunCell]) -> Counter[str]:
    """Count the runs that are not finished, by their subject's label."""
    return Counter(cell.subject.label for cell in cells if not cell.is_done)


def rehearse(
    subjects: Sequence[Subject], left: Mapping[str, int], device: str
) -> dict[str, Estimate]:
    """Refuse now what a run would be refused for later, and say how long the runs take.

    A control is trained as its subjects are; what else it is, their finished runs say.

    Args:
        subjects: Some of a study's.
        left: Runs to do, by label; a subject without any is passed over.
        device: Where the runs will be.

    Returns:
        By label what one run costs.
    """
    ahead = [each for each in subjects if left.get(each.label) and not each.control]
    if not ahead:
        return {}
    with TrainProgress() as progress, console.progress("try recipe", len(ahead)) as advance:
        found = rehearse_subjects(
            ahead,
            device=device,
            cost_of=partial(cost_of, table=None, assume=False),  # as `train` is called for a run
            reporter=progress,
            on_done=advance,
        )
    controls = sum(left.get(each.label, 0) for each in subjects if each.control)
    show_estimates(found, left, num_controls=controls)
    return found


def show_estimates(
    found: Mapping[str, Estimate], left: Mapping[str, int], *, num_controls: int = 0
) -> None:
    """Print what was measured, and the time of the runs that are left."""
    lines = [
        [
            label,
            each.num_steps,
            each.step_s,
            each.epoch_s,
            left[label],
            duration(3600 * each.hours * left[label]),
        ]
        for label, each in found.items()
    ]
    columns = ["", "steps measured", "s per step", "s per epoch", "runs left", "time"]
    console.table("how long it takes", columns, lines)
    total = sum(each.hours * left[label] for label, each in found.items())
    further = f" and {num_controls} runs of controls" if num_controls else ""
    console.info(
        f"in all about {duration(3600 * total)} of training, one run at a time; starting, scoring "
        f"and compiling{further} come on top"
    )


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
