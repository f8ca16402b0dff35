"""All that is random follows from (seed, epoch); the caller's generators stay as they are."""

import random

import numpy as np
import torch

from compactmtl.training.seeding import preserved_rng, seed_epoch, seed_everything, subset_order


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_an_epoch_draws_the_same_whatever_came_before():
    seed_epoch(7, 3)
    first = draws()
    draws()
    seed_epoch(7, 3)
    assert draws() == first
    others = set()
    for seed, epoch in ((7, 4), (8, 3), (3, 7)):
        seed_epoch(seed, epoch)
        others.add(draws())
    assert first not in others
    assert len(others) == 3


def test_preserved_rng_gives_the_state_back_also_after_an_error():
    seed_everything(1)
    expected = draws()
    seed_everything(1)
    try:
        with preserved_rng():
            seed_everything(2)
            draws()
            raise KeyError
    except KeyError:
        pass
    assert draws() == expected


def test_the_subset_is_redrawn_every_epoch_and_holds_a_batch_at_least():
    orders = [subset_order(100, seed=0, epoch=epoch, wanted=20, batch=8) for epoch in range(5)]
    assert all(len(order) == len(set(order)) == 20 for order in orders)
    assert len({tuple(order) for order in orders}) == 5
    assert len(subset_order(100, 0, 0, wanted=3, batch=8)) == 8
    assert sorted(subset_order(5, 0, 0, wanted=1, batch=8)) == list(range(5))
