"""Whether a finished run reached what its recipe asks for."""

from collections.abc import Mapping
from typing import Any

from compactmtl.errors import TrainingError
from compactmtl.multitask.task import Task
from compactmtl.recipe import CheckSection

_WORDS = {"before_sparse": "before the sparse phase", "final": "at the end"}
"""Milestones that are checked."""


def check_result(
    check: CheckSection,
    tasks: Mapping[str, Task],
    metrics: Mapping[str, Any],
    sparsity: Mapping[str, int] | None,
) -> dict[str, Any]:
    """Compare a run with its recipe's ``check``.

    Every task's error, at every milestone, must be at most (1 - margin) times that of the best
    constant predictor; the share of zero groups must be reached at the end.

    Args:
        check: What the recipe asks for.
        tasks: The run's tasks.
        metrics: ``baseline`` and ``milestones``, as in `run.json`.
        sparsity: Counts at the end; None if nothing was to become sparse.

    Returns:
        ``passed``, ``missed`` (a sentence for each miss), ``tasks`` (per milestone and task:
        ``error``, ``limit``) and ``zero_groups`` (``share``, ``limit``), as JSON data.
    """
    missed: list[str] = []
    result: dict[str, Any] = {"margin": check.margin, "tasks": {}}
    if check.margin is not None:
        for milestone, reached in metrics["milestones"].items():
            if milestone not in _WORDS:
                continue  # what debias is there to repair
            result["tasks"][milestone] = {}
            for name, task in tasks.items():
                constant = task.error(metrics["baseline"][name])
                error, limit = task.error(reached[name]), (1.0 - check.margin) * constant
                result["tasks"][milestone][name] = {"error": error, "limit": limit}
                if not error <= limit:  # NaN misses too
                    what = f"1 - {task.primary}" if task.higher_is_better else task.primary
                    missed.append(
                        f"`{name}` {_WORDS[milestone]}: {what} is {error:.4g}, expected at most "
                        f"{limit:.4g} ({check.margin:.0%} below the best constant's {constant:.4g})"
                    )
    if check.zero_groups is not None:
        counts = sparsity or {"zero_groups": 0, "num_groups": 1}
        share = counts["zero_groups"] / max(counts["num_groups"], 1)
        result["zero_groups"] = {"share": share, "limit": check.zero_groups}
        if share < check.zero_groups:
            missed.append(f"zero groups: {share:.1%}, expected at least {check.zero_groups:.1%}")
    return {"passed": not missed, "missed": missed, **result}


def raise_if_missed(result: Mapping[str, Any] | None) -> None:
    """Raise for a result that did not pass; None was not checked.

    Raises:
        TrainingError: It says what was missed by how much.
    """
    if result is not None and not result["passed"]:
        raise TrainingError(
            f"the run misses its check: {'; '.join(result['missed'])}",
            hint="the checkpoint is kept; train longer, or weaken sparsity, or relax the check",
        )


def with_miss(result: Mapping[str, Any], sentence: str) -> dict[str, Any]:
    """Return a result with a miss more."""
    return {**result, "passed": False, "missed": [*result["missed"], sentence]}
