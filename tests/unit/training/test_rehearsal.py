"""The first steps of a training, and how long all of it takes by them."""

import itertools

import pytest
import torch

from compactmtl.errors import TrainingError
from compactmtl.models.recipes import load
from compactmtl.training.assemble import load_split
from compactmtl.training.rehearsal import LIMIT_S, NUM_STEPS, rehearse
from compactmtl.training.reporter import NullReporter

SMALL = (
    "data.args={num_images=16, num_eval_images=9, height=16, width=16}", "data.num_workers=0",
    "model.name=segnet_s", "model.args={widths=[4]}", "data.batch_size=8", "train.device=cpu",
    "train.epochs=200",
)  # fmt: skip


def rehearsed(name, *settings, tick=1):
    """Rehearse with a clock that moves by so many seconds per look: a step takes one tick."""
    recipe = load(name, [*SMALL, *settings])
    splits = {split: load_split(recipe, split, NullReporter()) for split in ("train", "val")}
    looks = itertools.count(0, tick)
    return rehearse(recipe, splits, clock=lambda: float(next(looks)))


def test_every_kind_of_step_is_counted():
    found = rehearsed("rooms-fac", "overparam.layers=['*']", "overparam.subset=0.5")
    assert (found.num_steps, found.step_s, found.task_step_s, found.eval_step_s) == (10, 1, 1, 1)
    assert found.epoch_s == 2 + 3 * 1 + 2  # two batches, a task step for each of three, two of val
    assert found.hours == pytest.approx(200 * found.epoch_s / 3600)


def test_without_factors_there_is_no_step_for_a_task():
    found = rehearsed("rooms-dense")
    assert (found.task_step_s, found.epoch_s) == (0, 2 + 2)


def test_a_slow_step_is_not_measured_ten_times():
    assert rehearsed("rooms-dense", tick=LIMIT_S).num_steps == 2 < NUM_STEPS


def test_a_rehearsal_touches_no_random_number():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    rehearsed("rooms-dense")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_penalty_that_leaves_nothing_is_found_within_ten_steps():
    with pytest.raises(TrainingError, match="every group of the penalised layers is zero"):
        rehearsed("rooms-sparse", "sparsity={schedule='constant', lam=1e6, start=0.0}")
