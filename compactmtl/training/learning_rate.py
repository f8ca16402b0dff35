"""The learning rate at each step of a run."""

import math

from compactmtl.recipe import TrainSection


def lr_factor(step: int, num_steps: int, train: TrainSection) -> float:
    """Return the learning rate at ``step`` (from 0) as a fraction of ``train.lr``.

    A linear warm-up over ``train.warmup_steps``, times a constant, a cosine from 1 to 0 over all
    ``num_steps`` of the run, or a drop behind each of ``train.lr_milestones``. It is a function of
    the step alone: the contraction of the layers, which rebuilds the optimiser, and a resume leave
    it unchanged.
    """
    factor = 1.0
    if train.lr_schedule == "cosine":
        factor = 0.5 * (1.0 + math.cos(math.pi * step / num_steps))
    elif train.lr_schedule == "steps":
        passed = sum(step >= round(share * num_steps) for share in train.lr_milestones)
        factor = train.lr_gamma**passed
    if step < train.warmup_steps:
        factor *= (step + 1) / train.warmup_steps
    return factor
