"""From a run to its checkpoint and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from compactmtl import recipe as recipes
from compactmtl.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from compactmtl.errors import CorruptFileError, NonFiniteError, RecipeError
from compactmtl.multitask.task import Task
from compactmtl.overparam import expand_like, expansion_spec, is_expanded
from compactmtl.recipe import Recipe
from compactmtl.training.learner import Learner
from compactmtl.training.logs import write_logs
from compactmtl.training.phases import Phase
from compactmtl.training.run import Run
from compactmtl.weights.archive import first_line
from compactmtl.weights.fit import explain_misfit

_BY_HAND = "it was not written by `compactmtl train`, or was changed since: start the run again"


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
        weighting={},
        history=[],
        seed=recipe.seed,
        metrics={"baseline": dict(baseline), "milestones": {}},
    )


def save_state(run: Run, state: Checkpoint, learner: Learner) -> None:
    """Write `ckpt.pt` with the learner's state; only the first of several processes does."""
    state.phase = str(learner.phase)
    state.model = dict(learner.model.state_dict())
    state.expansion = expansion_spec(learner.model) if is_expanded(learner.model) else None
    state.optimizer = learner.optimizers.state_dict()
    state.schedule = {} if learner.penalty is None else learner.penalty.state_dict()
    state.weighting = learner.weighting.state_dict()
    state.scaler = learner.fabric.strategy.precision.state_dict()
    if run.writes:
        save_checkpoint(run.checkpoint, state)
    learner.kept = _kept(state)


def repeat_state(run: Run, state: Checkpoint) -> None:
    """Write what the checkpoint holds into `run.json`, `log.jsonl` and `log.csv`."""
    run.update(**state.metrics)
    if run.writes:
        write_logs(run.folder, state.history)


def load_state(recipe: Recipe, run: Run) -> Checkpoint:
    """Read the checkpoint of a run to go on with; nothing is written.

    Raises:
        CorruptFileError, UnsafeFileError: As ``load_checkpoint``.
        RecipeError: The run was started with another recipe.
        NonFiniteError: A weight is NaN or Inf.
    """
    state = load_checkpoint(run.checkpoint)
    check_same_recipe(recipe, state, run.checkpoint)
    if len(state.history) != state.epoch or not {"baseline", "milestones"} <= set(state.metrics):
        raise CorruptFileError(
            f"`{run.checkpoint}` says {state.epoch} epochs and holds {len(state.history)} records, "
            f"and {', '.join(state.metrics) or 'no'} metrics; expected as many records, "
            "and baseline and milestones",
            hint=_BY_HAND,
        )
    for name, tensor in state.model.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NonFiniteError(
                f"`{run.checkpoint}`: `{name}` holds NaN or Inf, expected finite weights",
                hint="nothing can be trained from it: start the run again, or use an earlier copy",
            )
    return state


def restore_state(learner: Learner, state: Checkpoint) -> None:
    """Bring a new learner to where it was after the checkpoint's last step.

    Raises:
        WeightsError: The weights do not fit the network.
        CorruptFileError: The state of an optimiser or of the schedule does not fit the run.
    """
    if state.expansion is not None:
        expand_like(learner.model, state.expansion)
    try:
        learner.model.load_state_dict(state.model)
    except RuntimeError as error:
        raise explain_misfit(
            state.model,
            learner.model.state_dict(),
            source="the checkpoint",
            network=learner.recipe.model.name,
        ) from error
    learner.set_up()
    try:
        learner.optimizers.load_state_dict(state.optimizer)
        learner.weighting.load_state_dict(state.weighting)
        if learner.penalty is not None:
            learner.penalty.load_state_dict(state.schedule)
        learner.fabric.strategy.precision.load_state_dict(state.scaler)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CorruptFileError(
            "the checkpoint's state of optimisers and schedule does not fit the run: "
            f"{type(error).__name__}: {first_line(error)}",
            hint=_BY_HAND,
        ) from error
    learner.phase = cast(Phase, state.phase)
    learner.kept = _kept(state)


def check_same_recipe(recipe: Recipe, checkpoint: Checkpoint, path: Path) -> None:
    """Refuse to go on with another recipe than a run was started with.

    Only what changes no result may differ: the device, and how often to save.

    Raises:
        RecipeError: Names the first setting that differs.
    """
    saved = recipes.parse(checkpoint.recipe, source=f"the recipe in `{path}`")
    ours, theirs = _flat(recipe.to_dict()), _flat(saved.to_dict())
    for key in (*ours, *theirs):
        got, expected = ours.get(key), theirs.get(key)
        if got != expected and key not in ("train.device", "train.checkpoint_every"):
            raise RecipeError(
                f"`{key}` is {got!r}, but `{path}` was trained with {expected!r}",
                hint="resume with the run's own recipe.toml; other settings need a new run",
            )


def _kept(state: Checkpoint) -> str:
    step = state.position.get("step")
    if step is None:
        return f"the checkpoint of epoch {state.epoch} is kept"
    return f"the checkpoint of epoch {state.epoch + 1}, step {step} is kept"


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
