"""How long a plan takes, from steps that are really done."""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from compactmtl.recipe import Recipe
from compactmtl.training.assemble import assemble
from compactmtl.training.device import make_fabric
from compactmtl.training.feed import Feed
from compactmtl.training.learner import Learner
from compactmtl.training.phases import phases
from compactmtl.training.reporter import NullReporter
from compactmtl.training.seeding import preserved_rng

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


def estimate(recipe: Recipe, *, clock: Clock = time.monotonic) -> Estimate:
    """Train ten steps of a recipe and say how long all of it would take; nothing is written.

    The first phase is measured; later ones, without overparameterisation, are not slower.

    Args:
        recipe: What to train; on ``train.device``.
        clock: Returns seconds.

    Raises:
        CompactMTLError: What the start of a training raises: nothing else would come later.
    """
    with preserved_rng():
        fabric = make_fabric(recipe.train)
        parts = assemble(recipe, reporter=NullReporter())
        feed = Feed(recipe, parts, fabric)
        steps = feed.steps_per_epoch
        learner = Learner(recipe, parts.model, parts.tasks, fabric, steps, NullReporter())
        learner.enter(phases(recipe)[0], 0)

        def timed(work: Callable[[], object]) -> float:
            before = clock()
            work()
            if fabric.device.type == "cuda":
                torch.cuda.synchronize(fabric.device)
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
            task = next(iter(parts.tasks))
            task_s = timed(lambda: learner.task_step(task, images, targets))
            num_task = len(parts.tasks) * feed.num_subset_batches
        val = next(iter(feed.val(0)))
        eval_s = timed(lambda: learner.evaluate([val]))
    num_val = -(-len(parts.val_data) // recipe.data.batch_size)
    step_s = statistics.median(times[1:])
    epoch_s = steps * step_s + num_task * task_s + num_val * eval_s
    return Estimate(
        num_steps=len(times) - 1,
        step_s=step_s,
        task_step_s=task_s,
        eval_step_s=eval_s,
        epoch_s=epoch_s,
        hours=recipe.train.epochs * epoch_s / 3600,
    )
