"""The batches of a run, in an order that depends on the seed and the epoch alone."""

import time
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import Subset

from compactmtl.data.batch import loader
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.data.order import EpochSampler
from compactmtl.errors import RecipeError
from compactmtl.multitask.evaluate import Batches
from compactmtl.recipe import Recipe
from compactmtl.training.assemble import Parts
from compactmtl.training.seeding import loader_generator, subset_order

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
    """

    waited: float
    """Seconds that training waited for batches since this was last set to 0."""

    def __init__(self, recipe: Recipe, parts: Parts, fabric: Fabric) -> None:
        self.recipe, self.parts, self.fabric = recipe, parts, fabric
        self.waited = 0.0
        self._pins = fabric.device.type == "cuda"
        num_train = len(parts.train_data)
        batches = loader(
            parts.train_data,
            parts.tasks,
            batch_size=recipe.data.batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(recipe.seed),
            num_workers=recipe.data.num_workers,
            pin_memory=self._pins,
            drop_last=num_train >= recipe.data.batch_size,
        )
        self._sampler = cast(EpochSampler, batches.sampler)
        self._train = cast(Batches, fabric.setup_dataloaders(batches))
        self.subset_samples(0)  # a subset that cannot be shows now
        self.steps_per_epoch = self._num_batches(num_train)

    def train(self, epoch: int) -> Batches:
        """Return the epoch's training batches (epochs from 0), in the order of ``epoch_order``."""
        self._sampler.start_epoch(epoch)
        return self._timed(self._train)

    def subset(self, epoch: int) -> Batches:
        """Return the batches that train the task factors in this epoch."""
        order, batch = self.subset_samples(epoch), self.recipe.data.batch_size
        batches = self._in_order(self.parts.train_data, order, epoch, drop_last=len(order) >= batch)
        return self._timed(batches)

    @property
    def num_subset_batches(self) -> int:
        """Count the batches of ``subset``, the same in every epoch."""
        return self._num_batches(len(self.subset_samples(0)))

    def val(self, epoch: int) -> Batches:
        """Return the whole validation split in its own order."""
        order = range(len(self.parts.val_data))
        return self._in_order(self.parts.val_data, order, epoch, drop_last=False)

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

    def _timed(self, batches: Batches) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        each = iter(batches)
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
            batch_size=self.recipe.data.batch_size,
            shuffle=False,
            generator=loader_generator(self.recipe.seed, epoch),
            num_workers=self.recipe.data.num_workers,
            pin_memory=self._pins,
            drop_last=drop_last,
        )
        return cast(Batches, self.fabric.setup_dataloaders(batches))
