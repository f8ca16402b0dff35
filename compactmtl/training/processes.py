"""The processes that train one network together, and what they tell each other.

Each holds the whole network and a share of every batch. Their gradients are averaged here and not
by DistributedDataParallel: its reducer takes one backward pass per forward pass and waits for every
parameter, where our steps run several, or train a few parameters alone.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn

from compactmtl.errors import CompactMTLError, TrainingError, UsageError
from compactmtl.overparam.replicas import average_gradients
from compactmtl.sparsity import ChannelGroups

T = TypeVar("T")
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun, or a script for srun, says to each process."""


def launched_processes() -> int:
    """Return how many processes torchrun, or something like it, started this one with.

    Raises:
        UsageError: It says so in part only.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    missing = [name for name in VARIABLES if name not in os.environ]
    if size == "1":
        return 1
    if missing or not size.isdigit():
        raise UsageError(
            f"WORLD_SIZE is {size}, and {', '.join(missing) or 'this is no number'}"
            f"{' is not set' if missing else ''}: no process knows its place",
            hint="start with torchrun, or set what it sets; or unset WORLD_SIZE",
        )
    return int(size)


def is_first() -> bool:
    """Tell whether this process writes and prints: the one of rank 0, or the only one."""
    return launched_processes() == 1 or os.environ["RANK"] == "0"


@contextmanager
def lost_process() -> Iterator[None]:
    """Turn what gloo and NCCL raise when another process has ended into one line.

    Raises:
        CompactMTLError: Another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "/gloo/" in str(error)):
            raise
        raise CompactMTLError(
            "another process of this run has ended, or cannot be reached",
            hint="its own lines say why; then go on with --resume",
        ) from error


class Processes:
    """All processes of a run; what one calls, all call. Of one alone, every method does nothing."""

    def __init__(self, fabric: Fabric) -> None:
        self.num, self.rank = int(fabric.world_size), int(fabric.global_rank)
        self._device: torch.device = fabric.device

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the processes."""
        if self.num > 1:
            values = values.to(self._device, copy=True)
            dist.all_reduce(values)
        return values

    def any(self, *flags: bool) -> list[bool]:
        """Tell of each flag whether it is set in any process."""
        if self.num == 1:
            return list(flags)
        return [count > 0 for count in self.total(torch.tensor(flags, dtype=torch.int32)).tolist()]

    def of_first(self, value: T) -> T:
        """Return what the first process holds."""
        found = [value]
        if self.num > 1:
            dist.broadcast_object_list(found, src=0, device=self._device)
        return found[0]

    def gather(self, value: T) -> list[T]:
        """Return what each process holds, in the order of their ranks."""
        found: list[T] = [value] * self.num
        if self.num > 1:
            dist.all_gather_object(found, value)
        return found

    def average_gradients(self, trained: Sequence[nn.Parameter]) -> None:
        """Average ``.grad`` over the processes; what a process lacks counts as zero."""
        if self.num > 1:
            average_gradients(trained)

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with those of the first process."""
        if self.num == 1:
            return
        with torch.no_grad():
            for kind in dict.fromkeys(tensor.dtype for tensor in tensors):
                same = [tensor for tensor in tensors if tensor.dtype == kind]
                flat = torch.cat([tensor.reshape(-1) for tensor in same])
                dist.broadcast(flat, src=0)
                pieces = torch.split(flat, [tensor.numel() for tensor in same])
                for tensor, piece in zip(same, pieces, strict=True):
                    tensor.copy_(piece.view_as(tensor))

    def check_same(self, facts: Mapping[str, Any], kind: type[CompactMTLError], hint: str) -> None:
        """Refuse to go on where the processes know different things.

        Args:
            facts: What must be equal, by what it is called.
            kind: The error to raise.
            hint: Its hint.
        """
        everywhere = self.gather(dict(facts))
        for name in facts:
            found = [theirs[name] for theirs in everywhere]
            if any(value != found[0] for value in found):
                listed = ", ".join(f"{value} on rank {rank}" for rank, value in enumerate(found))
                raise kind(f"the processes differ in {name}: {listed}", hint=hint)

    def check_zeros(self, groups: Sequence[ChannelGroups], place: str) -> None:
        """Refuse to go on where other channel groups are zero in other processes.

        Raises:
            TrainingError: Names the first layer.
        """
        if self.num == 1 or not groups:
            return
        zero = torch.cat([group.is_zero().flatten() for group in groups]).to(torch.int32)
        differs = self.total(zero) % self.num != 0
        by_layer = torch.split(differs, [group.num_groups for group in groups])
        for group, found in zip(groups, by_layer, strict=True):
            if bool(found.any()):
                raise TrainingError(
                    f"the processes differ in which groups of `{group.name}` are zero "
                    f"({int(found.sum())} of {group.num_groups}) in {place}",
                    hint="take machines of one kind with one installation, and resume from the "
                    "checkpoint",
                )
