"""The order samples are seen in: a pure function of seed and epoch."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler


def epoch_order(num_samples: int, seed: int, epoch: int) -> list[int]:
    """Return the shuffled order of an epoch; depends on nothing but its arguments.

    Args:
        num_samples: Size of the data set.
        seed: At least 0.
        epoch: From 0 on.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    return [int(index) for index in rng.permutation(num_samples)]


class EpochSampler(Sampler[int]):
    """Yields ``epoch_order`` for the epoch it was last told.

    Call ``start_epoch`` before each epoch: then the order, and the seeds of loader workers, depend
    on (seed, epoch) alone, and resuming needs no state. It is deliberately not called
    ``set_epoch``: Lightning Fabric calls that by itself with a count of its own, which starts at 0
    again after a resume. On several devices Fabric wraps this sampler and deals its order out.

    Until ``start_epoch`` is called every pass draws a fresh order from ``generator``.

    Args:
        num_samples: Size of the data set.
        generator: Its initial seed is the seed of all orders.
    """

    def __init__(self, num_samples: int, generator: torch.Generator) -> None:
        self._num_samples = num_samples
        self._generator = generator
        self._seed = generator.initial_seed() % 2**64
        self._epoch: int | None = None

    def start_epoch(self, epoch: int) -> None:
        """Fix the order of the next passes to that of ``epoch`` (from 0 on)."""
        self._epoch = epoch
        state = np.random.SeedSequence([self._seed, epoch, 1]).generate_state(1, np.uint64)
        self._generator.manual_seed(int(state[0]) % 2**63)

    def __iter__(self) -> Iterator[int]:
        if self._epoch is None:
            yield from torch.randperm(self._num_samples, generator=self._generator).tolist()
        else:
            yield from epoch_order(self._num_samples, self._seed, self._epoch)

    def __len__(self) -> int:
        return self._num_samples
