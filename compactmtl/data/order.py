"""The order samples are seen in: a pure function of seed and epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Share:
    """Which samples of each batch a process gets: the ``rank``-th of ``num`` equal slices."""

    batch_size: int
    """Of the whole batch, which ``num`` divides."""
    rank: int = 0
    num: int = 1

    def of(self, order: Sequence[int]) -> list[int]:
        """Return this process's samples of whole batches, in their order."""
        size = self.batch_size // self.num
        starts = range(self.rank * size, len(order), self.batch_size)
        whole = len(order) // self.batch_size
        return [index for start in starts[:whole] for index in order[start : start + size]]


class EpochSampler(Sampler[int]):
    """Yields ``epoch_order`` for the epoch it was last told.

    Call ``start_epoch`` before each epoch: then the order, and the seeds of loader workers, depend
    on (seed, epoch) alone, and resuming needs no state. It is deliberately not called
    ``set_epoch``: Lightning Fabric calls that by itself with a count of its own, which starts at 0
    again after a resume.

    Until ``start_epoch`` is called every pass draws a fresh order from ``generator``.

    Args:
        num_samples: Size of the data set.
        generator: Its initial seed is the seed of all orders.
        share: Of which batches which part is yielded; None: everything.
    """

    def __init__(
        self, num_samples: int, generator: torch.Generator, share: Share | None = None
    ) -> None:
        self._num_samples = num_samples
        self._generator = generator
        self._share = share
        self._seed = generator.initial_seed() % 2**64
        self._epoch: int | None = None
        self._first = 0

    def start_epoch(self, epoch: int, first: int = 0) -> None:
        """Fix the order of the next passes to that of ``epoch`` (from 0 on).

        Args:
            epoch: The epoch.
            first: Samples that this process has had of it already.
        """
        self._epoch, self._first = epoch, first
        rank = self._share.rank if self._share else 0
        path = [self._seed, epoch, 1, *([rank] if rank else [])]
        state = np.random.SeedSequence(path).generate_state(1, np.uint64)
        self._generator.manual_seed(int(state[0]) % 2**63)

    def __iter__(self) -> Iterator[int]:
        if self._epoch is None:
            order = torch.randperm(self._num_samples, generator=self._generator).tolist()
        else:
            order = epoch_order(self._num_samples, self._seed, self._epoch)
        yield from (order if self._share is None else self._share.of(order))[self._first :]

    def __len__(self) -> int:
        return self._num_samples
