"""Train a recipe, on one page: epochs, phases, steps."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.loggers.logger import Logger
from torch import nn

from compactmtl.checkpoint import Checkpoint
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.multitask.baseline import constant_baseline
from compactmtl.multitask.task import Task
from compactmtl.recipe import Recipe
from compactmtl.training.assemble import assemble, run_info, without_init
from compactmtl.training.coverage import check_coverage
from compactmtl.training.device import make_fabric
from compactmtl.training.feed import Feed
from compactmtl.training.interrupt import sigterm_as_interrupt
from compactmtl.training.learner import Learner
from compactmtl.training.loggers import make_loggers
from compactmtl.training.logs import LOGGED, flatten
from compactmtl.training.penalty import CostFunction, measured
from compactmtl.training.phases import milestones, phases
from compactmtl.training.preflight import check_first
from compactmtl.training.reporter import NullReporter, Reporter
from compactmtl.training.run import noted, open_or_create
from compactmtl.training.seeding import preserved_rng, seed_epoch
from compactmtl.training.selection import keep_best, select
from compactmtl.training.settings import check_settings
from compactmtl.training.state import (
    first_checkpoint,
    load_state,
    repeat_state,
    restore_state,
    save_state,
)
from compactmtl.training.teacher import make_teacher
from compactmtl.training.verdict import check_result, raise_if_missed, with_miss

Metrics = dict[str, dict[str, float]]


@dataclass(frozen=True)
class FitResult:
    """A finished run."""

    model: nn.Module
    """In eval mode; its layers are expanded if the last epoch's were."""
    run_dir: Path
    checkpoint_path: Path
    history: list[dict[str, Any]]
    """One record per epoch, as in `log.jsonl`."""
    metrics: Metrics
    """Validation metrics per task after the last epoch."""
    baseline: Metrics
    """The same metrics of the best constant predictor."""
    selection: dict[str, Any]
    """The last epoch, the mean of the last ten, and the best, as ``select`` returns them."""


def fit(
    recipe: Recipe,
    *,
    root: Path = Path("runs"),
    run_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    loggers: Sequence[str | Logger] = (),
    model: nn.Module | None = None,
    train_data: MultiTaskDataset | None = None,
    val_data: MultiTaskDataset | None = None,
    tasks: Mapping[str, Task] | None = None,
    cost: CostFunction | None = None,
) -> FitResult:
    """Train a recipe into a run folder.

    On one machine's CPU the resulting weights depend on the recipe alone: not on earlier use of
    random numbers, nor on how often the run was killed and resumed. A plain loop gets the same
    weights: ``initial_network``; per epoch ``seed_epoch``, batches by ``epoch_order``, the last
    incomplete one dropped; per step ``lr_factor``, ``total_loss``, backward, ``AdamW.step``.

    Args:
        recipe: What to do.
        root: A new folder ``<recipe>-<time>-<seed>`` is made here.
        run_dir: This new folder instead; with ``resume`` the folder of the run to go on with.
        resume: Go on after the last finished epoch of ``run_dir``.
        reporter: Told of everything that happens; None: silence.
        loggers: "tensorboard", "wandb", "mlflow" or Fabric's loggers, beside our own logs.
        model: Trained in place, instead of the recipe's network.
        train_data: Used instead of the recipe's.
        val_data: Used instead of the recipe's.
        tasks: Used instead of the recipe's; same names.
        cost: For ``sparsity.target_macs`` and ``target_latency_ms``: what a network costs compiled.

    Raises:
        RecipeError: The recipe contradicts itself, its data or the run that is resumed.
        DataError: The data are not what the tasks expect.
        NonFiniteError: A loss or weight became NaN or Inf; the last good checkpoint stays.
        TrainingError: The result misses the recipe's ``check``, which a target of ``sparsity`` is
            part of; everything is kept. Or every penalised group became zero: the last good
            checkpoint stays.
        WriteError: The run folder cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the last checkpoint stays.
    """
    reporter = NullReporter() if reporter is None else reporter
    plan = phases(recipe)
    for note in check_settings(recipe):
        reporter.message(note)
    run = open_or_create(recipe, root, run_dir, resume=resume)
    state = load_state(recipe, run) if resume else None
    with sigterm_as_interrupt(), preserved_rng(), noted(run):
        fabric = make_fabric(recipe.train, make_loggers(loggers, run.folder))
        parts = assemble(
            recipe if state is None else without_init(recipe),
            model=model,
            train_data=train_data,
            val_data=val_data,
            tasks=tasks,
            reporter=reporter,
        )
        feed = Feed(recipe, parts, fabric)
        measure = None
        if cost is not None:
            image = parts.val_data[0][0].unsqueeze(0)
            measure = partial(measured, cost, image=image)
        learner = Learner(
            recipe,
            parts.model,
            parts.tasks,
            fabric,
            feed.steps_per_epoch,
            reporter,
            measure=None if measure is None else partial(measure, parts.model),
            teacher=make_teacher(recipe, parts.model),
        )
        if learner.penalty is not None and measure is not None and state is None:
            learner.penalty.check_reachable(parts.model, learner.groups, measure)
        check_first(fabric, parts.model, feed, learner.tasks, recipe.train, reporter)
        check_coverage(recipe, parts, feed, reporter)
        info = run_info(recipe, parts, run.folder, str(fabric.device), state.epoch if state else 0)
        if state is None:
            baseline = constant_baseline(parts.tasks, feed.val(0))
            state = first_checkpoint(recipe, parts.tasks, baseline)
        else:
            restore_state(learner, state)
            run.go_on()
            if state.history:
                state.metrics["selection"] = select(
                    state.history, parts.tasks, state.metrics["baseline"]
                )
                keep_best(recipe, run, state.metrics["selection"])  # a kill may have come before
        repeat_state(run, state)
        reporter.run_started(info)

        for epoch in range(state.epoch, recipe.train.epochs):
            started = time.monotonic()
            learner.enter(plan[epoch], epoch)
            seed_epoch(recipe.seed, epoch)
            losses = _train_epoch(learner, feed, epoch, state, reporter)
            trained = time.monotonic() - started
            val = learner.evaluate(feed.val(epoch))
            record: dict[str, Any] = {"epoch": epoch + 1, "phase": learner.phase}
            record |= {"seconds": time.monotonic() - started, "waited": feed.waited}
            record |= learner.record()
            if epoch == info.first_epoch and (why := feed.why_slow(trained)):
                reporter.message(why)
            learner.weighting.epoch_finished(losses)
            record |= {"loss": losses, "val": val}
            for milestone in milestones(plan, epoch):
                state.metrics["milestones"].setdefault(milestone, val)
            state.epoch, state.phase = epoch + 1, str(learner.phase)
            state.history.append(record)
            state.metrics["selection"] = select(
                state.history, parts.tasks, state.metrics["baseline"]
            )
            save_state(run, state, learner)
            keep_best(recipe, run, state.metrics["selection"])
            fabric.log_dict(flatten({k: record[k] for k in LOGGED if k in record}), step=epoch + 1)
            reporter.epoch_finished(record)

        for logger in fabric.loggers:
            logger.finalize("success")
        check = None
        if recipe.check is not None:
            sparsity = state.history[-1]["sparsity"]
            check = check_result(recipe.check, parts.tasks, state.metrics, sparsity)
        missed = "" if learner.penalty is None else learner.penalty.missed(learner.groups)
        if missed:
            reporter.message(f"the target was not reached: {missed}")
            if recipe.check is not None and check is not None and recipe.check.target:
                check = with_miss(check, missed)
        run.finish("finished", check=check)
    raise_if_missed(check)
    if recipe.train.channels_last:
        parts.model.to(memory_format=torch.contiguous_format)
    parts.model.eval()
    last = state.history[-1]
    return FitResult(
        model=parts.model,
        run_dir=run.folder,
        checkpoint_path=run.checkpoint,
        history=state.history,
        metrics=last["val"],
        baseline=state.metrics["baseline"],
        selection=state.metrics["selection"],
    )


def _train_epoch(
    learner: Learner, feed: Feed, epoch: int, state: Checkpoint, reporter: Reporter
) -> dict[str, float]:
    """Do the steps of one epoch; return each task's mean loss over the main steps.

    Where the penalty stops before its time, the network is evaluated there: before debias.
    """
    m_tasks = list(learner.tasks) if learner.optimizers.iterative == "subset" else []
    num_steps = feed.steps_per_epoch + len(m_tasks) * feed.num_subset_batches
    feed.waited = 0.0
    reporter.epoch_started(epoch + 1, str(learner.phase), num_steps)
    for task in m_tasks:
        for images, targets in feed.subset(epoch):
            reporter.step(learner.task_step(task, images, targets))
    sums = dict.fromkeys(learner.tasks, 0.0)
    for images, targets in feed.train(epoch):
        was_frozen = learner.optimizers.main.frozen
        losses = learner.main_step(images, targets)
        if learner.optimizers.main.frozen and not was_frozen:
            state.metrics["milestones"]["before_debias"] = learner.evaluate(feed.val(epoch))
        reporter.step(losses)
        sums = {task: sums[task] + loss for task, loss in losses.items()}
    learner.check_weights()
    return {task: total / feed.steps_per_epoch for task, total in sums.items()}
