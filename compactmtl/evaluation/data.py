"""Which data set and which tasks an evaluation is on."""

from collections.abc import Mapping
from typing import Any

from compactmtl.data import DATASETS
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.errors import UsageError
from compactmtl.evaluation.subjects import Subject
from compactmtl.evaluation.tasks import load_tasks, names_own_data
from compactmtl.multitask.task import Task
from compactmtl.parts import find_part
from compactmtl.recipe import Recipe, parse

SPLITS = ("train", "val", "test")


def load_data(
    subjects: Mapping[str, Subject], *, name: str | None, split: str, recipe: Recipe | None
) -> tuple[MultiTaskDataset, dict[str, Task], str]:
    """Return the split, the tasks, and a phrase that names the split.

    The arguments of the data set are those of the recipe where it names the same one, else the
    data set's defaults. Tasks are those that the files state, else those the data set declares.

    Args:
        subjects: What is to be scored; the first recipe among them counts.
        name: A built-in data set or ``package.module:Dataset``; None: the recipe's.
        split: One of ``SPLITS``.
        recipe: A recipe that the user gave; names in it may be imported.

    Raises:
        UsageError: No data set is known, or it has none of the tasks.
        DataError: The data is not on this machine.
    """
    if split not in SPLITS:
        raise UsageError(f"--split {split!r}: expected one of {', '.join(SPLITS)}")
    known = recipe or _recipe_of(subjects)
    if name is None and known is None:
        raise UsageError(
            "no file says which data it was trained on", hint="give --data NAME or --recipe FILE"
        )
    if name is None and known is not None and names_own_data(known) and recipe is None:
        raise UsageError(
            f"the data set `{known.data.name}` is the user's own code, and names out of a file are "
            "not imported",
            hint=f"if you trust it, say so: --data {known.data.name}",
        )
    chosen = name or (known.data.name if known else "")
    args: dict[str, Any] = {}
    if known is not None and known.data.name == chosen:
        args = dict(known.data.args)
    factory = find_part(chosen, DATASETS, "data set")
    dataset = factory(split, **args)
    tasks, left_out = load_tasks(_specs(subjects), known, trusted=recipe is not None)
    if not tasks and hasattr(factory, "declared_tasks"):
        tasks = dict(factory.declared_tasks(**args))
    if not tasks:
        raise UsageError(
            f"no task to score: {' '.join(left_out) or 'neither the files nor the data name one'}",
            hint="give the recipe that defines the tasks: --recipe FILE",
        )
    return dataset, tasks, f"{chosen}, {split}"


def _recipe_of(subjects: Mapping[str, Subject]) -> Recipe | None:
    for name, subject in subjects.items():
        if subject.recipe is not None:
            return parse(subject.recipe, source=f"the recipe in {name}")
    return None


def _specs(subjects: Mapping[str, Subject]) -> dict[str, Mapping[str, Any]]:
    """Return every task that a file states.

    Raises:
        UsageError: Two files state one task differently.
    """
    specs: dict[str, Mapping[str, Any]] = {}
    for name, subject in subjects.items():
        for task, spec in subject.tasks.items():
            if specs.setdefault(task, spec) != spec:
                raise UsageError(
                    f"`{name}` and another file differ in what task `{task}` is: {dict(spec)} "
                    f"and {dict(specs[task])}",
                    hint="score them one after the other",
                )
    return specs
