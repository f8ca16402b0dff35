"""Find out on one batch whether a run can work, before anything long starts."""

from collections.abc import Mapping

import torch
from lightning_fabric import Fabric
from torch import nn

from compactmtl.errors import DataError, NonFiniteError, UsageError
from compactmtl.multitask.losses import outputs, task_losses
from compactmtl.multitask.task import Task
from compactmtl.recipe import TrainSection
from compactmtl.training.feed import Feed
from compactmtl.training.placement import as_run, check_compiler, laid_out
from compactmtl.training.reporter import Reporter
from compactmtl.training.seeding import preserved_rng


def check_first(
    fabric: Fabric,
    model: nn.Module,
    feed: Feed,
    tasks: Mapping[str, Task],
    train: TrainSection,
    reporter: Reporter,
) -> None:
    """Run one forward, loss and backward on the first batch and leave no trace in the network.

    Args:
        fabric: Where to run it.
        model: The network.
        feed: Its batches.
        tasks: Those that it learns.
        train: Whether to compile it, and how images lie in memory.
        reporter: Hears of what takes long.

    Raises:
        NotPossibleHereError: ``train.compile`` cannot be honoured on this machine.
        DataError: The batch is not what the tasks expect, or its images hold NaN or Inf.
        UsageError: The network fails, yields no dict, or lacks a task's output.
        NonFiniteError: A loss is NaN or Inf.
    """
    if train.compile:
        reporter.message("compiling the network: each phase begins with minutes of it")
        check_compiler(fabric.device)
    module = fabric.setup_module(as_run(model, train))
    module.train()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with preserved_rng():
        images, targets = next(iter(feed.train(0)))
        if not torch.isfinite(images).all():
            raise DataError(
                "the first training batch holds images with NaN or Inf, expected values in [0, 1]"
            )
        try:
            raws = outputs(module, laid_out(images, train), targets)
        except RuntimeError as error:
            raise UsageError(
                f"the network fails on the first batch, images of shape {tuple(images.shape)}: "
                f"{str(error).strip().splitlines()[0]}",
                hint="--debug shows where",
            ) from error
        if not isinstance(raws, Mapping):
            raise UsageError(
                f"the network returns a {type(raws).__name__}, expected a dict from task to tensor",
                hint=f'return {{"{next(iter(tasks))}": output, ...}} in forward',
            )
        losses = task_losses(tasks, raws, targets)
        for name, loss in losses.items():
            if not torch.isfinite(loss):
                raise NonFiniteError(
                    f"loss of `{name}` is {loss.item()} on the first batch, before any training",
                    hint="look at its targets: pixels without a value must be marked invalid",
                )
        fabric.backward(torch.stack(list(losses.values())).sum())
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
