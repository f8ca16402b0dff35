"""A training step: contract once, run any number of backward passes, pull back once."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from compactmtl.overparam.checks import check_no_gradient, check_optimizer
from compactmtl.overparam.contraction import factors_in, one_contraction


@contextmanager
def training_step(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    frobenius: float = 1e-4,
    freeze_m: bool = False,
    scaler: GradScaler | None = None,
) -> Iterator[None]:
    """Contract once for all forward and backward passes inside; fill the gradients at the end.

    ::

        optimizer.zero_grad()
        with training_step(model, optimizer):
            for loss in losses:
                loss.backward()
        optimizer.step()

    The block only fills ``.grad``, as a backward pass does; clip and step after it. The result is
    that of a plain loop with ``frobenius(model, c)`` added to the loss once.

    Args:
        model: An expanded network, possibly wrapped (DistributedDataParallel, Fabric).
        optimizer: The optimiser that will step; only checked.
        frobenius: Coefficient c of the Frobenius decay.
        freeze_m: Leave m (what single tasks train) without a gradient: the paper's second process,
            where ``task_step`` trains it.
        scaler: The GradScaler whose ``scale`` the losses went through. Gradients stay scaled, the
            Frobenius term included; ``scaler.unscale_`` and ``scaler.step`` work as always.

    Raises:
        UsageError: The network is not expanded; the optimiser was built before ``expand``, decays
            m, or would step a frozen m with an old gradient; blocks are nested.
    """
    layers = factors_in(model)
    shared = [p for factors in layers for p in factors.shared_parameters()]
    vectors = [p for factors in layers for t in factors.tasks for p in factors.task_parameters(t)]
    check_optimizer(optimizer, shared if freeze_m else [*shared, *vectors], undecayed=vectors)
    if freeze_m:
        check_no_gradient(optimizer, vectors, "m is frozen in this step")
    with gradients_kept(vectors if freeze_m else []), one_contraction(layers, frobenius, scaler):
        yield


@contextmanager
def gradients_kept(frozen: list[nn.Parameter]) -> Iterator[None]:
    """Undo what the block does to these gradients.

    requires_grad stays on: dm costs nothing beside dU, and DistributedDataParallel waits for it.
    """
    saved = [(parameter, parameter.grad) for parameter in frozen]
    for parameter in frozen:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, grad in saved:
            parameter.grad = grad
