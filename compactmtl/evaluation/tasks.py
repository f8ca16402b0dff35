"""The tasks and the validation data behind a compact model, as far as they may be loaded."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compactmtl.data import DATASETS
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.errors import UsageError
from compactmtl.multitask import KINDS, make_task, task_from_spec
from compactmtl.multitask.task import Task
from compactmtl.parts import find_part, is_foreign
from compactmtl.recipe import Recipe


def load_tasks(
    specs: Mapping[str, Mapping[str, Any]], recipe: Recipe | None, *, trusted: bool
) -> tuple[dict[str, Task], list[str]]:
    """Rebuild tasks from a model's manifest; the user's own kinds come from a trusted recipe only.

    Args:
        specs: ``Task.spec()`` by task name.
        recipe: The recipe of the run.
        trusted: The user named the run, so names in its recipe may be imported.

    Returns:
        The tasks, and a sentence for each that is left out.
    """
    tasks: dict[str, Task] = {}
    left_out: list[str] = []
    for name, spec in specs.items():
        if spec.get("kind") in KINDS:
            tasks[name] = task_from_spec(name, spec)
        elif recipe is not None and trusted and name in recipe.tasks:
            tasks[name] = _own_task(name, recipe)
        else:
            left_out.append(
                f"Task {name} is of the user's own kind {spec.get('kind')}; its code is imported "
                "only for a run that is named: compactmtl report --run RUN."
            )
    return tasks, left_out


def load_validation_data(recipe: Recipe, data: Path | None) -> MultiTaskDataset:
    """Return the validation split a recipe names.

    Args:
        recipe: The recipe; the caller has decided that its data set may be imported.
        data: Folder of data packs that takes the place of the recipe's.

    Raises:
        DataError: The data is not on this machine.
        UsageError: A folder is given, but the data set takes none.
    """
    factory = find_part(recipe.data.name, DATASETS, "data set")
    args = dict(recipe.data.args)
    if data is not None:
        if "root" not in inspect.signature(factory).parameters:
            raise UsageError(
                f"data set `{recipe.data.name}` takes no folder, got --data {data}",
                hint="leave out --data",
            )
        args["root"] = str(data)
    return factory("val", **args)


def names_own_data(recipe: Recipe) -> bool:
    """Tell whether the recipe's data set is the user's own code."""
    return is_foreign(recipe.data.name)


def _own_task(name: str, recipe: Recipe) -> Task:
    section = recipe.tasks[name]
    if section.kind is not None:
        return make_task(name, section.kind, section.args)
    factory = find_part(recipe.data.name, DATASETS, "data set")
    declared: dict[str, Task] = factory.declared_tasks(**recipe.data.args)  # type: ignore[attr-defined]
    return declared[name]
