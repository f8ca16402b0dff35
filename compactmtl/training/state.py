"""The checkpoint of a run that begins, and of one that goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compactmtl.checkpoint import Checkpoint
from compactmtl.errors import RecipeError
from compactmtl.multitask.task import Task
from compactmtl.recipe import Recipe


def first_checkpoint(
    recipe: Recipe, tasks: Mapping[str, Task], baseline: Mapping[str, Mapping[str, float]]
) -> Checkpoint:
    """Return the state of a run before its first epoch; the learner fills in the rest."""
    return Checkpoint(
        recipe=recipe.to_dict(),
        tasks={name: task.spec() for name, task in tasks.items()},
        model={},
        expansion=None,
        epoch=0,
        phase="",
        optimizer={},
        schedule={},
        history=[],
        seed=recipe.seed,
        metrics={"baseline": dict(baseline), "milestones": {}},
    )


def check_same_recipe(recipe: Recipe, checkpoint: Checkpoint, path: Path) -> None:
    """Refuse to go on with another recipe than a run was started with; only the device may differ.

    Raises:
        RecipeError: Names the first setting that differs.
    """
    ours, theirs = _flat(recipe.to_dict()), _flat(checkpoint.recipe)
    for key in (*ours, *theirs):
        got, expected = ours.get(key), theirs.get(key)
        if got != expected and key != "train.device":
            raise RecipeError(
                f"`{key}` is {got!r}, but `{path}` was trained with {expected!r}",
                hint="resume with the run's own recipe.toml; other settings need a new run",
            )


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
