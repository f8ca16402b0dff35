"""The grid of a sweep: strengths of the penalty times sets of tasks, from one recipe."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from compactmtl.errors import RefusedError, UsageError
from compactmtl.files import make_folder, write_text
from compactmtl.models.recipes import load
from compactmtl.recipe import Recipe, to_toml, with_tasks
from compactmtl.study.subjects import Subject

BASE = "recipe.toml"


@dataclass(frozen=True)
class GridPoint:
    """One recipe of a sweep.

    Attributes:
        subject: Label and recipe.
        series: What a curve over lambda is drawn of: the tasks.
        lam: The strength of the penalty; 0 is dense training by the same optimiser.
    """

    subject: Subject
    series: str
    lam: float


def parse_lams(text: str) -> list[float]:
    """Read ``0,1e-3,1e-2``, in ascending order.

    Raises:
        UsageError: Nothing, no number, a negative or infinite one, or one twice.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    hint = "write strengths of the penalty, as in --lam 0,1e-3,1e-2; 0 is dense training"
    if not words:
        raise UsageError("--lam is empty: there is nothing to sweep over", hint=hint)
    lams = []
    for word in words:
        try:
            lam = float(word)
        except ValueError as error:
            raise UsageError(f"--lam: `{word}` is not a number", hint=hint) from error
        if not 0 <= lam < math.inf:
            raise UsageError(f"--lam: {word} must be a finite number of at least 0", hint=hint)
        if lam in lams:
            raise UsageError(f"--lam: {word} is there twice", hint="name each strength once")
        lams.append(lam)
    return sorted(lams)


def parse_task_sets(
    recipe: Recipe, texts: Sequence[str], *, every_combination: bool = False
) -> list[tuple[str, ...]]:
    """Read ``seg,depth`` and the like, each in the recipe's own order.

    Args:
        recipe: Has the tasks.
        texts: Task sets; none stands for all tasks together.
        every_combination: Single tasks, pairs, and so on, instead.

    Raises:
        UsageError: A set twice, or both ways of naming them.
        RecipeError: An unknown task, or one twice in a set.
    """
    names = tuple(recipe.tasks)
    if every_combination:
        if texts:
            raise UsageError("--tasks and --combinations both say which tasks", hint="give one")
        return [chosen for n in range(1, len(names) + 1) for chosen in combinations(names, n)]
    sets: list[tuple[str, ...]] = []
    for text in texts:
        words = [word.strip() for word in text.split(",")]
        chosen = tuple(with_tasks(recipe, words).tasks)
        if chosen in sets:
            raise UsageError(f"--tasks {text}: this set is there twice", hint="name each set once")
        sets.append(chosen)
    return sets or [names]


def make_grid(
    name: str,
    *,
    lams: Sequence[float],
    task_sets: Sequence[str] = (),
    every_combination: bool = False,
    settings: Sequence[str] = (),
) -> tuple[Recipe, list[GridPoint]]:
    """Return the recipe that is swept and its grid, task set by task set, lambda ascending.

    The lambda takes the place of the recipe's own aim: schedule "target" becomes "constant".
    [check] does not apply: a strong penalty is to be seen, not to fail.

    Raises:
        UsageError, RecipeError, PartError, MissingFileError: As ``parse_lams``,
            ``parse_task_sets`` and ``compactmtl.models.recipes.load``.
    """
    base = load(name, [*settings, "check="])
    aims = [f"sparsity.{aim}=" for aim in ("target", "target_macs", "target_latency_ms", "lam_rel")]
    if base.sparsity is None or base.sparsity.schedule == "target":
        aims.append('sparsity.schedule="constant"')
    points = []
    for tasks in parse_task_sets(base, task_sets, every_combination=every_combination):
        for lam in lams:
            recipe = load(name, [*settings, "check=", *aims, f"sparsity.lam={lam!r}"])
            label = f"{'-'.join(tasks)}_lam-{lam:.12g}"
            points.append(
                GridPoint(Subject(label, with_tasks(recipe, tasks)), ", ".join(tasks), lam)
            )
    return base, points


def weakest(grid: Sequence[GridPoint]) -> list[Subject]:
    """Return the point of each task set with the smallest lambda, with the series as its label.

    What it is refused for, all of the set are, its steps take as long, and a lambda that makes
    everything zero at once is not among them unless all are such.
    """
    found: dict[str, Subject] = {}
    for point in sorted(grid, key=lambda point: point.lam):
        found.setdefault(point.series, Subject(point.series, point.subject.recipe))
    return list(found.values())


def check_folder(root: Path, base: Recipe) -> None:
    """Find that a folder is no sweep, or one of this recipe.

    Raises:
        RefusedError: It is a sweep of another recipe.
    """
    path = root / BASE
    if path.is_file() and path.read_text(encoding="utf-8") != to_toml(base):
        raise RefusedError(
            f"`{root}` is a sweep of another recipe, or with other settings, than `{base.name}` "
            "is now",
            hint=f"choose another --out; `{path}` is what it was",
        )


def claim_folder(root: Path, base: Recipe) -> None:
    """Keep the recipe in the sweep's folder, or find that it is the one that is there.

    Raises:
        RefusedError: As ``check_folder``.
        WriteError: It cannot be written.
    """
    check_folder(root, base)
    make_folder(root)
    write_text(root / BASE, to_toml(base))
