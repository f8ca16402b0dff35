"""One contraction per optimiser step, shared by all tasks and micro-batches.

Inside a block each expanded layer computes with a leaf W = (U * m) V that was contracted once. The
forward and backward passes of all tasks and micro-batches add up dL/dW there; when the block ends,
the sum G (plus c W, the Frobenius term, exactly once) is pulled back through the contraction:

    A = U^T G    dV = m A    dm = rowsum(A V) = diag(U^T G V^T)    dU = (G V^T) m

autograd does that with the graph of the contraction, so gradient hooks (DistributedDataParallel)
fire as always. Everything is linear in G: gradients scaled by a GradScaler stay scaled.

Source: Ren & Shi, algorithm 1 and section 2.3; Khodak et al. (2021) for the decay.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from compactmtl.errors import UsageError
from compactmtl.overparam.kernel import KernelFactors, expanded_layers


@contextmanager
def one_contraction(
    layers: list[KernelFactors], coef: float, scaler: GradScaler | None
) -> Iterator[list[Tensor]]:
    """Let each layer compute with one leaf; on success pull its gradient back to the factors.

    Yields:
        The kernels with their graphs, in the order of the layers.

    Raises:
        UsageError: Another block of this network is open.
    """
    if any(factors.leaf is not None for factors in layers):
        raise UsageError(
            "training_step and task_step cannot be nested", hint="close the first block"
        )
    kernels: list[Tensor] = []
    try:
        for factors in layers:
            with torch.enable_grad():
                kernel = factors.kernel()
            kernels.append(kernel)
            factors.leaf = kernel.detach().requires_grad_(kernel.requires_grad)
        yield kernels
        trained = [
            (kernel, _total(factors.leaf, coef, scaler))
            for kernel, factors in zip(kernels, layers, strict=True)
            if kernel.requires_grad and factors.leaf is not None
        ]
    finally:
        for factors in layers:
            factors.leaf = None
    if trained:
        torch.autograd.backward([kernel for kernel, _ in trained], [grad for _, grad in trained])


def _total(leaf: Tensor, coef: float, scaler: GradScaler | None) -> Tensor:
    """Return dL/dW plus the Frobenius term, both scaled by the scaler, if there is one."""
    decay = decay_of(leaf, coef, scaler)
    return decay if leaf.grad is None else leaf.grad + decay


def decay_of(leaf: Tensor, coef: float, scaler: GradScaler | None) -> Tensor:
    """Return the gradient of the Frobenius term, scaled by the scaler, if there is one."""
    decay = coef * leaf.detach()
    if scaler is not None:
        scaled = scaler.scale(decay)
        assert isinstance(scaled, Tensor)
        decay = scaled
    return decay


def factors_in(model: nn.Module) -> list[KernelFactors]:
    """Return the factors of every expanded layer.

    Raises:
        UsageError: There are none.
    """
    layers = [factors for _, _, factors in expanded_layers(model)]
    if not layers:
        raise UsageError(f"{type(model).__name__} is not expanded", hint="expand(model, ...) first")
    return layers
