"""A step that trains one task's m and leaves everything else exactly as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from compactmtl.overparam.buffers import untouched_buffers
from compactmtl.overparam.checks import check_no_gradient, check_optimizer, parameters_of
from compactmtl.overparam.contraction import factors_in, one_contraction
from compactmtl.overparam.parameters import task_parameters
from compactmtl.overparam.replicas import averaged_apart


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
    with (
        averaged_apart(model, vectors),  # a reducer would wait for the frozen parameters
        untouched_buffers(model),
        _only_trained(model, vectors),
        one_contraction(layers, frobenius, scaler),
    ):
        yield


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
