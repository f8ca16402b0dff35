"""Backward passes outside of DistributedDataParallel's reducer, averaged over the processes by us.

The reducer takes one backward pass per forward pass and waits for every parameter. A block that
runs several passes, or freezes parameters, switches it off and averages here instead.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def averaged_apart(model: nn.Module, trained: Sequence[nn.Parameter]) -> Iterator[None]:
    """Average what the block adds to these gradients over the processes; elsewhere do nothing.

    Args:
        model: The network, with ``DistributedDataParallel`` around it or around a part of it.
        trained: The parameters that get gradients, the same in every process.
    """
    replicas = [m for m in model.modules() if isinstance(m, DistributedDataParallel)]
    if not replicas:
        yield
        return
    earlier = [parameter.grad for parameter in trained]
    for parameter in trained:
        parameter.grad = None
    done = False
    try:
        with ExitStack() as stack:
            for replica in replicas:
                stack.enter_context(replica.no_sync())
            yield
        done = True
    finally:
        if not done:
            for parameter, before in zip(trained, earlier, strict=True):
                parameter.grad = before
    average_gradients(trained, replicas[0].process_group)
    for parameter, before in zip(trained, earlier, strict=True):
        if before is not None:
            parameter.grad = before if parameter.grad is None else parameter.grad + before


def average_gradients(
    trained: Sequence[nn.Parameter], group: torch.distributed.ProcessGroup | None = None
) -> None:
    """Average gradients over the processes of a group; None: over all.

    What one process lacks counts as zero there; what all lack stays missing.
    """
    if not trained:
        return
    found = [parameter.grad is not None for parameter in trained]
    held = torch.tensor(found, dtype=torch.int32, device=trained[0].device)
    torch.distributed.all_reduce(held, torch.distributed.ReduceOp.MAX, group=group)
    waiting = []
    for parameter, anywhere in zip(trained, held.tolist(), strict=True):
        if anywhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad /= torch.distributed.get_world_size(group)
            waiting.append(torch.distributed.all_reduce(parameter.grad, group=group, async_op=True))
    for work in waiting:
        work.wait()
