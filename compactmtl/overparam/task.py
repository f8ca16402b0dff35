"""A step that trains one task's m and leaves everything else exactly as it was."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from compactmtl.overparam.checks import check_no_gradient, check_optimizer, parameters_of
from compactmtl.overparam.contraction import factors_in, one_contraction
from compactmtl.overparam.parameters import task_parameters


@contextmanager
def task_step(
    model: nn.Module,
    task: str,
    optimizer: Optimizer | None = None,
    *,
    frobenius: float = 1e-4,
    scaler: GradScaler | None = None,
) -> Iterator[None]:
    """Give a gradient only to this task's m: diag(U^T dW V^T), summed over the block.

    Everything else is frozen, and on leaving, also by an exception, every ``requires_grad`` and
    every buffer is as it was: batch norm uses the batch, but its running statistics do not move.

    Args:
        model: An expanded network in train mode, possibly wrapped.
        task: The task whose loss is run backward inside.
        optimizer: The optimiser that will step; only checked. One per task keeps its Adam state.
        frobenius: Coefficient of the Frobenius decay, which reaches m too.
        scaler: As in ``training_step``.

    Raises:
        UsageError: The network is not expanded or has no such task; the optimiser was built before
            ``expand``, decays m, or would step another parameter with an old gradient.
    """
    layers = factors_in(model)
    vectors = task_parameters(model, task)
    if optimizer is not None:
        check_optimizer(optimizer, vectors, undecayed=vectors)
        ours = {id(vector) for vector in vectors}
        others = [p for p in parameters_of(optimizer) if id(p) not in ours]
        check_no_gradient(optimizer, others, f"only m of task `{task}` is trained in this step")
    replicas = [m for m in model.modules() if isinstance(m, DistributedDataParallel)]
    before = [vector.grad for vector in vectors]
    with ExitStack() as stack:
        for replica in replicas:  # its reducer would wait for the frozen parameters
            stack.enter_context(replica.no_sync())
        stack.enter_context(_untouched_buffers(model))
        stack.enter_context(_only_trained(model, vectors))
        if replicas:
            for vector in vectors:
                vector.grad = None
        with one_contraction(layers, frobenius, scaler):
            yield
    if replicas:
        _average(vectors, before, replicas[0])


@contextmanager
def _only_trained(model: nn.Module, trained: list[nn.Parameter]) -> Iterator[None]:
    saved = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    wanted = {id(parameter) for parameter in trained}
    try:
        for parameter, _ in saved:
            parameter.requires_grad_(id(parameter) in wanted)
        yield
    finally:
        for parameter, requires_grad in saved:
            parameter.requires_grad_(requires_grad)


@contextmanager
def _untouched_buffers(model: nn.Module) -> Iterator[None]:
    saved = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, value in saved:
                module._buffers[name] = buffer.copy_(value)


def _average(
    vectors: list[nn.Parameter], before: list[Tensor | None], replica: DistributedDataParallel
) -> None:
    """Average this block's gradients over the processes and add them to the earlier ones."""
    for vector, earlier in zip(vectors, before, strict=True):
        if vector.grad is not None:
            torch.distributed.all_reduce(vector.grad, group=replica.process_group)
            vector.grad /= torch.distributed.get_world_size(replica.process_group)
            if earlier is not None:
                vector.grad += earlier
