"""The batches of a run, in an order that depends on the seed and the epoch alone."""

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from compactmtl.data.batch import loader
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.data.order import EpochSampler, Share
from compactmtl.errors import DataError, RecipeError
from compactmtl.multitask.evaluate import Batches
from compactmtl.recipe import Recipe
from compactmtl.training.assemble import Parts
from compactmtl.training.micro_batch import micro_batches_here
from compactmtl.training.seeding import loader_generator, subset_order

Step = tuple[str | None, Tensor, dict[str, Any]]
"""The task whose factors a step trains, or None for everything; images; targets."""

SUBSET = 0.03
"""Share of the samples that trains the factors of single tasks: the paper's."""

SLOW_SHARE, SLOW_SECONDS = 0.2, 2.0
"""Share of an epoch's training, and seconds, from which on waiting for data is worth a word."""


class Feed:
    """Batches for training, for the task factors and for validation.

    A last, smaller batch is dropped in training (a batch norm cannot train on one sample), unless
    it is the only one; as the order changes every epoch, no sample is left out for good.

    With ``data.num_workers`` batches are made ahead in processes of their own, and on a GPU they
    come from pinned memory, so that copying them goes on beside the step. Workers start anew every
    epoch: what is random in a data set then depends on seed and epoch alone, also after a resume.

    Of several processes each gets its part of every batch, and of the validation split.

    Raises:
        RecipeError: The batch cannot be divided among processes and micro-batches, or
            ``overparam.subset`` is more than there is.
        DataError: There are fewer validation images than processes.
    """

    waited: float
    """Seconds that training waited for batches since this was last set to 0."""

    def __init__(self, recipe: Recipe, parts: Parts, fabric: Fabric) -> None:
        self.recipe, self.parts, self.fabric = recipe, parts, fabric
        self.waited = 0.0
        self._pins = fabric.device.type == "cuda"
        num_train, num_val = len(parts.train_data), len(parts.val_data)
        self._share = Share(
            min(recipe.data.batch_size, num_train), fabric.global_rank, fabric.world_size
        )
        self._check_division()
        if num_val < self._share.num:
            raise DataError(
                f"the val split of `{recipe.data.name}` has {num_val} images for "
                f"{self._share.num} processes, expected one for each at least"
            )
        batches = loader(
            parts.train_data,
            parts.tasks,
            batch_size=recipe.data.batch_size // self._share.num,
            shuffle=True,
            generator=torch.Generator().manual_seed(recipe.seed),
            num_workers=recipe.data.num_workers,
            pin_memory=self._pins,
            drop_last=num_train >= recipe.data.batch_size,
            share=self._share if self._share.num > 1 else None,
        )
        self._sampler = cast(EpochSampler, batches.sampler)
        self._train = self._set_up(batches)
        self.subset_samples(0)  # a subset that cannot be shows now
        self.steps_per_epoch = self._num_batches(num_train)

    def train(self, epoch: int, done: int = 0) -> Batches:
        """Return the epoch's training batches (epochs from 0), in the order of ``epoch_order``.

        Args:
            epoch: The epoch.
            done: Leave out this many batches. Worker processes make them all the same: what they
                draw at random goes on from there.
        """
        again = done if self.recipe.data.num_workers else 0
        self._sampler.start_epoch(epoch, (done - again) * self._share.batch_size // self._share.num)
        return self._timed(self._train, again)

    def subset(self, epoch: int, done: int = 0) -> Batches:
        """Return the batches that train the task factors in this epoch, but for the first ones."""
        order, batch = self.subset_samples(epoch), self.recipe.data.batch_size
        if self._share.num > 1:
            order = self._share.of(order)
        again = done if self.recipe.data.num_workers else 0
        size = batch // self._share.num
        batches = self._in_order(
            self.parts.train_data, order[(done - again) * size :], epoch,
            drop_last=len(order) >= size,
        )  # fmt: skip
        return self._timed(batches, again)

    def steps(self, epoch: int, m_tasks: Sequence[str], done: int = 0) -> Iterator[Step]:
        """Yield what each step of an epoch works on, but for the first ones.

        Args:
            epoch: The epoch.
            m_tasks: Tasks whose factors are trained first, each on the whole subset.
            done: Leave out this many steps.
        """
        each = self.num_subset_batches if m_tasks else 0
        for number, task in enumerate(m_tasks):
            skipped = min(max(done - number * each, 0), each)
            if skipped < each:
                yield from ((task, *batch) for batch in self.subset(epoch, skipped))
        main = max(done - len(m_tasks) * each, 0)
        if main < self.steps_per_epoch:
            yield from ((None, *batch) for batch in self.train(epoch, main))

    @property
    def num_subset_batches(self) -> int:
        """Count the batches of ``subset``, the same in every epoch."""
        return self._num_batches(len(self.subset_samples(0)))

    def val(self, epoch: int) -> Batches:
        """Return this process's part of the validation split in its own order."""
        size, rank, num = len(self.parts.val_data), self._share.rank, self._share.num
        order = range(rank * size // num, (rank + 1) * size // num)
        return self._in_order(self.parts.val_data, order, epoch, drop_last=False)

    def whole_val(self) -> Batches:
        """Return the whole validation split in its own order, to every process."""
        order = range(len(self.parts.val_data))
        return self._in_order(self.parts.val_data, order, 0, drop_last=False)

    def subset_samples(self, epoch: int) -> list[int]:
        """Return which training samples ``subset`` holds in an epoch."""
        subset, num_train = self._subset, len(self.parts.train_data)
        if subset > num_train and subset > 1:
            raise RecipeError(
                f"overparam.subset (={subset:g} samples) is more than the {num_train} training "
                "samples there are"
            )
        wanted = round(subset * num_train) if subset <= 1 else int(subset)
        return subset_order(num_train, self.recipe.seed, epoch, wanted, self.recipe.data.batch_size)

    def why_slow(self, seconds: float) -> str | None:
        """Return what helps if much of this time of training was waiting for batches."""
        if self.waited <= max(SLOW_SHARE * seconds, SLOW_SECONDS):
            return None
        return (
            f"steps waited for data {self.waited:.0f} s of {seconds:.0f} s: "
            f"raise data.num_workers (now {self.recipe.data.num_workers})"
        )

    @property
    def _subset(self) -> float:
        section = self.recipe.overparam
        if section is None:
            return 0.0
        return SUBSET if section.subset is None else section.subset

    def _timed(
        self, batches: Batches, again: int = 0
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        each = itertools.islice(batches, again, None)
        while True:
            started = time.monotonic()
            batch = next(each, None)
            self.waited += time.monotonic() - started
            if batch is None:
                return
            yield batch

    def _num_batches(self, num_samples: int) -> int:
        return max(1, num_samples // self.recipe.data.batch_size)

    def _in_order(
        self, data: MultiTaskDataset, order: Sequence[int], epoch: int, *, drop_last: bool
    ) -> Batches:
        batches = loader(
            cast(MultiTaskDataset, Subset(data, order)),  # type: ignore[arg-type]
            self.parts.tasks,
            batch_size=self.recipe.data.batch_size // self._share.num,
            shuffle=False,
            generator=loader_generator(self.recipe.seed, epoch, self._share.rank),
            num_workers=self.recipe.data.num_workers,
            pin_memory=self._pins,
            drop_last=drop_last,
        )
        return self._set_up(batches)

    def _set_up(self, batches: DataLoader[Any]) -> Batches:
        # The samples are dealt out already.
        made = self.fabric.setup_dataloaders(batches, use_distributed_sampler=False)
        return cast(Batches, made)

    def _check_division(self) -> None:
        num, batch = self._share.num, self._share.batch_size
        parts = num * micro_batches_here(self.recipe.train.accumulate, num)
        if batch % parts:
            raise RecipeError(
                f"a batch of {batch} samples cannot be divided into {parts} equal parts "
                f"({num} processes, {parts // num} micro-batches each)",
                hint=f"set data.batch_size, which counts all processes, to a multiple of {parts}",
            )
