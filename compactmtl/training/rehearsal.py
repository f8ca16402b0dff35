"""Find out in seconds what a training would be refused for, and how long it takes."""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.recipe import Recipe
from compactmtl.training.assemble import assemble
from compactmtl.training.device import make_fabric
from compactmtl.training.feed import Feed
from compactmtl.training.learner import Learner
from compactmtl.training.penalty import CostFunction
from compactmtl.training.phases import phases
from compactmtl.training.placement import check_compiler
from compactmtl.training.preparation import prepare
from compactmtl.training.reporter import NullReporter
from compactmtl.training.seeding import preserved_rng
from compactmtl.training.settings import check_settings

NUM_STEPS = 10
LIMIT_S = 120.0
"""After so many seconds two steps are enough."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Estimate:
    """What one run of a recipe costs.

    Attributes:
        num_steps: Steps that were measured, after one that was not.
        step_s: Median time of a training step with its data.
        task_step_s: Time of a step that trains one task's factors; 0 where there is none.
        eval_step_s: Time of a validation batch.
        epoch_s: Time of an epoch with its validation.
        hours: Time of the run.
    """

    num_steps: int
    step_s: float
    task_step_s: float
    eval_step_s: float
    epoch_s: float
    hours: float


def rehearse(
    recipe: Recipe,
    splits: Mapping[str, MultiTaskDataset],
    *,
    cost: CostFunction | None = None,
    clock: Clock = time.monotonic,
) -> Estimate:
    """Begin a training as ``fit`` does, do ten steps, and say how long all of it would take.

    Nothing is written. The first phase is measured; later ones, without overparameterisation, are
    not slower. ``train.compile`` is checked but not done, for it takes minutes: the steps are those
    of the network as it is.

    Args:
        recipe: What would be trained, on ``train.device``.
        splits: The data to use in place of the recipe's: "train" and "val".
        cost: As for ``fit``.
        clock: Returns seconds.

    Raises:
        CompactMTLError: What ``fit`` raises before its first step, or in its first ones.
    """
    reporter = NullReporter()
    check_settings(recipe)
    with preserved_rng():
        fabric = make_fabric(recipe.train)
        if recipe.train.compile:
            check_compiler(fabric.device)
            train = recipe.train.model_copy(update={"compile": False})
            recipe = recipe.model_copy(update={"train": train})
        parts = assemble(
            recipe, train_data=splits["train"], val_data=splits["val"], reporter=reporter
        )
        feed, learner = prepare(recipe, parts, fabric, reporter, cost=cost)
        learner.enter(phases(recipe)[0], 0)
        return _measured(recipe, feed, learner, clock)


def _measured(recipe: Recipe, feed: Feed, learner: Learner, clock: Clock) -> Estimate:
    device = learner.fabric.device

    def timed(work: Callable[[], object]) -> float:
        before = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - before

    batches = itertools.chain.from_iterable(feed.train(e) for e in itertools.count())
    started, times = clock(), []
    for number in range(NUM_STEPS + 1):
        times.append(timed(lambda: learner.main_step(*next(batches))))
        if number >= 2 and clock() - started > LIMIT_S:
            break
    task_s, num_task = 0.0, 0
    if learner.optimizers.iterative == "subset":
        images, targets = next(iter(feed.subset(0)))
        task = next(iter(learner.tasks))
        task_s = timed(lambda: learner.task_step(task, images, targets))
        num_task = len(learner.tasks) * feed.num_subset_batches
    val = next(iter(feed.val(0)))
    eval_s = timed(lambda: learner.evaluate([val]))
    num_val = -(-len(feed.parts.val_data) // recipe.data.batch_size)
    step_s = statistics.median(times[1:])
    epoch_s = feed.steps_per_epoch * step_s + num_task * task_s + num_val * eval_s
    return Estimate(
        num_steps=len(times) - 1,
        step_s=step_s,
        task_step_s=task_s,
        eval_step_s=eval_s,
        epoch_s=epoch_s,
        hours=recipe.train.epochs * epoch_s / 3600,
    )
