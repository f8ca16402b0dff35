"""Train a recipe, on one page: epochs, phases, steps."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.loggers.logger import Logger
from torch import nn

from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.multitask.baseline import constant_baseline
from compactmtl.multitask.task import Task
from compactmtl.recipe import Recipe
from compactmtl.training.agreement import check_agreement
from compactmtl.training.assemble import assemble, run_info, without_init
from compactmtl.training.cut_off import CutOff
from compactmtl.training.device import make_fabric
from compactmtl.training.epoch import Epochs, Pace
from compactmtl.training.interrupt import StopRequest, stop_on_signal
from compactmtl.training.loggers import make_loggers
from compactmtl.training.logs import LOGGED, flatten
from compactmtl.training.penalty import CostFunction
from compactmtl.training.phases import milestones, phases
from compactmtl.training.preparation import prepare
from compactmtl.training.processes import (
    Processes,
    is_first,
    launched_processes,
    lost_process,
)
from compactmtl.training.reporter import NullReporter, Reporter
from compactmtl.training.run import noted, open_or_create
from compactmtl.training.seeding import preserved_rng
from compactmtl.training.selection import keep_best, select
from compactmtl.training.settings import check_settings
from compactmtl.training.state import (
    first_checkpoint,
    load_state,
    repeat_state,
    restore_state,
    save_state,
)
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

    Started by torchrun, its processes share out every batch, and the first one writes and reports.

    Args:
        recipe: What to do.
        root: A new folder ``<recipe>-<time>-<seed>`` is made here.
        run_dir: This new folder instead; with ``resume`` the folder of the run to go on with.
        resume: Go on where ``run_dir`` was saved last, in the middle of an epoch too.
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
        StoppedError: SIGTERM or SIGUSR1; everything up to the step it came in is saved.
        KeyboardInterrupt: Ctrl-C; the last checkpoint stays.
    """
    objects = {"model": model, "train_data": train_data, "val_data": val_data, "tasks": tasks}
    first = is_first()
    reporter = NullReporter() if reporter is None or not first else reporter
    plan = phases(recipe)
    for note in check_settings(recipe, launched_processes()):
        reporter.message(note)
    given = [name for name, item in objects.items() if item is not None]
    run = open_or_create(recipe, root, run_dir, resume=resume, given=given, writes=first)
    state = load_state(recipe, run) if resume else None
    with stop_on_signal(StopRequest()) as stop, preserved_rng(), noted(run), lost_process():
        fabric = make_fabric(recipe.train, make_loggers(loggers, run.folder) if first else ())
        processes = Processes(fabric)
        run.folder = processes.of_first(run.folder)
        with fabric.rank_zero_first(local=True):  # what it renders or unpacks, the others find
            parts = assemble(
                recipe if state is None else without_init(recipe),
                model=model,
                train_data=train_data,
                val_data=val_data,
                tasks=tasks,
                reporter=reporter,
            )
        check_agreement(processes, recipe, parts, state)
        feed, learner = prepare(recipe, parts, fabric, reporter, cost=cost, is_fresh=state is None)
        begun = (state.epoch, state.position.get("step", 0)) if state else (0, 0)
        info = run_info(recipe, parts, run.folder, str(fabric.device), *begun)
        if state is None:
            baseline = constant_baseline(parts.tasks, feed.whole_val())
            state = first_checkpoint(recipe, parts.tasks, baseline)
        else:
            restore_state(learner, state)
            run.go_on()
            if state.history:
                state.metrics["selection"] = select(
                    state.history, parts.tasks, state.metrics["baseline"]
                )
                if not state.position:  # a kill may have come before it was kept
                    keep_best(recipe, run, state.metrics["selection"])
        repeat_state(run, state)
        reporter.run_started(info)

        epochs = Epochs(learner, feed, run, state, reporter, stop, Pace(recipe.train))
        stop.waits = True
        cut_off = None
        if learner.penalty is not None:
            cut_off = CutOff(parts.model, parts.val_data[0][0])
        for epoch in range(state.epoch, recipe.train.epochs):
            if not state.position:
                learner.enter(plan[epoch], epoch)
            done = epochs.train(epoch)
            losses = {name: total / feed.steps_per_epoch for name, total in done.losses.items()}
            trained = time.monotonic()
            val = learner.evaluate(feed.val(epoch))
            seconds = done.seconds + time.monotonic() - trained
            record: dict[str, Any] = {"epoch": epoch + 1, "phase": learner.phase}
            record |= {"seconds": seconds, "waited": feed.waited}
            record |= learner.record()
            if cut_off is not None and (note := cut_off.note(learner.groups)):
                reporter.message(note)
            if epoch == info.first_epoch and (why := feed.why_slow(done.seconds)):
                reporter.message(why)
            learner.weighting.epoch_finished(losses)
            record |= {"loss": losses, "val": val}
            for milestone in milestones(plan, epoch):
                state.metrics["milestones"].setdefault(milestone, val)
            state.epoch, state.position = epoch + 1, {}
            state.history.append(record)
            state.metrics["selection"] = select(
                state.history, parts.tasks, state.metrics["baseline"]
            )
            save_state(run, state, learner)
            epochs.pace.saved()
            repeat_state(run, state)
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
