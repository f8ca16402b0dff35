"""A paired study of several recipes over several seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compactmtl.environment import environment
from compactmtl.errors import UsageError
from compactmtl.files import read_json, write_json
from compactmtl.multitask.delta import HIGHER_IS_BETTER, relative_gain
from compactmtl.study.cells import RunCell, Stage, make_cells, plan_cells
from compactmtl.study.costs import Costs, costs
from compactmtl.study.paired import Cell, Difference, cell, difference
from compactmtl.study.running import run_cells
from compactmtl.study.subjects import Subject
from compactmtl.training.logs import read_log
from compactmtl.training.selection import mean_of_last

RECORD = "compare.json"

Values = dict[tuple[str, str], dict[int, float]]
"""Task and metric to value by seed."""


@dataclass(frozen=True)
class Row:
    """One metric of one task.

    Attributes:
        cells: Subject to its values.
        differences: Subject to its difference from the first one.
    """

    task: str
    metric: str
    higher_is_better: bool | None
    cells: dict[str, Cell]
    differences: dict[str, Difference]


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        test: Metrics of the last epoch on the test split.
        val_last: Means over the last ten epochs on the validation split.
        delta_m: Mean relative gain over all metrics and tasks, in percent, by subject; it has no
            cell for the first one, which is 0 by definition.
        costs: What subjects cost compiled, and their zeros, where one of them is sparse.
        notes: What could not be computed, and why.
        done: Finished seeds by subject.
    """

    subjects: tuple[str, ...]
    seeds: int
    test: tuple[Row, ...]
    val_last: tuple[Row, ...]
    delta_m: dict[str, Cell]
    costs: Costs
    done: dict[str, int]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON data."""
        return {
            "format_version": 1,
            "environment": environment(),
            "selection": "last epoch; nothing is chosen on the test split",
            "confidence": 0.95,
            **asdict(self),
        }


def plan_runs(subjects: Sequence[Subject], seeds: int, root: Path) -> list[RunCell]:
    """Return the runs that ``compare`` takes; nothing is written.

    Raises:
        RefusedError: As ``compare``.
    """
    return plan_cells(subjects, seeds, root, until=_stage(subjects))


def compare(
    subjects: Sequence[Subject],
    *,
    seeds: int,
    root: Path,
    jobs: int = 1,
    devices: Sequence[str] = ("auto",),
    on_done: Callable[[RunCell], None] = lambda _: None,
    on_wait: Callable[[RunCell], None] = lambda _: None,
) -> Study:
    """Train every subject with every seed, score all on the test split, compare by seed.

    Seeds are paired: runs of one seed see the same batches and, where networks are alike, start
    from the same weights. What is finished in ``root`` is not done again. Where a subject is
    sparse, all are compiled, too, which tells what they cost.

    Raises:
        RefusedError: ``root`` holds runs of another recipe under the same label.
        TrainingError: A run failed; what is finished stays.
    """
    cells = make_cells(subjects, seeds, root, until=_stage(subjects))
    run_cells(cells, jobs=jobs, devices=devices, on_done=on_done, on_wait=on_wait)
    study = summarise(subjects, cells)
    write_json(root / RECORD, study.to_dict())
    return study


def _stage(subjects: Sequence[Subject]) -> Stage:
    is_sparse = any(subject.recipe.sparsity is not None for subject in subjects)
    return "compiled" if is_sparse else "scored"


def summarise(subjects: Sequence[Subject], cells: Sequence[RunCell]) -> Study:
    """Return what the finished runs say."""
    labels = [subject.label for subject in subjects]
    test: dict[str, Values] = {label: {} for label in labels}
    last: dict[str, Values] = {label: {} for label in labels}
    for each in cells:
        if each.is_done:
            metrics = next(iter(read_json(each.scores)["metrics"].values()))
            _collect(test[each.subject.label], each.seed, metrics)
            _collect(last[each.subject.label], each.seed, mean_of_last(read_log(each.run)))
    delta_m = {}
    cost, notes = costs(cells)
    for label in labels[1:]:
        try:
            gains = _gains(test[label], test[labels[0]])
        except UsageError as error:
            notes.append(f"{label}: {error.message}")
            continue
        if gains:
            delta_m[label] = cell(gains)
    return Study(
        subjects=tuple(labels),
        seeds=len({each.seed for each in cells}),
        test=_rows(labels, test),
        val_last=_rows(labels, last),
        delta_m=delta_m,
        costs=cost,
        done={
            label: sum(each.is_done for each in cells if each.subject.label == label)
            for label in labels
        },
        notes=tuple(notes),
    )


def _collect(values: Values, seed: int, metrics: Mapping[str, Mapping[str, float]]) -> None:
    for task, found in metrics.items():
        for metric, value in found.items():
            values.setdefault((task, metric), {})[seed] = value


def _rows(labels: Sequence[str], values: Mapping[str, Values]) -> tuple[Row, ...]:
    names = dict.fromkeys(name for label in labels for name in values[label])
    rows = []
    for task, metric in names:
        own = {label: values[label].get((task, metric), {}) for label in labels}
        higher = HIGHER_IS_BETTER.get(metric)
        compared = {
            label: difference(own[label], own[labels[0]], higher_is_better=higher)
            for label in labels[1:]
        }
        rows.append(
            Row(
                task=task,
                metric=metric,
                higher_is_better=higher,
                cells={label: cell(list(found.values())) for label, found in own.items() if found},
                differences={label: d for label, d in compared.items() if d is not None},
            )
        )
    return tuple(rows)


def _gains(subject: Values, baseline: Values) -> list[float]:
    """Return delta-m of the seeds that both have, in percent."""
    ours, theirs = ({seed for found in v.values() for seed in found} for v in (subject, baseline))
    return [
        100 * relative_gain(_at(subject, seed), _at(baseline, seed))
        for seed in sorted(ours & theirs)
    ]


def _at(values: Values, seed: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for (task, metric), by_seed in values.items():
        if seed in by_seed:
            found.setdefault(task, {})[metric] = by_seed[seed]
    return found
