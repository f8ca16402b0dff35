"""A training step in which every task trains its own factors, all from one forward pass."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from compactmtl.overparam.checks import check_no_gradient, check_optimizer
from compactmtl.overparam.contraction import decay_of, factors_in, one_contraction
from compactmtl.overparam.kernel import KernelFactors
from compactmtl.overparam.parameters import task_parameters
from compactmtl.overparam.replicas import averaged_apart
from compactmtl.overparam.step import gradients_kept


@contextmanager
def minibatch_step(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    frobenius: float = 1e-4,
    scaler: GradScaler | None = None,
) -> Iterator[Callable[[str], AbstractContextManager[None]]]:
    """Contract once; give each task's factors the gradient of its own loss, the rest that of all.

    ::

        with minibatch_step(model, optimizer) as of_task:
            losses = compute(model(images))
            for task, loss in losses.items():
                with of_task(task):
                    loss.backward(retain_graph=True)

    Afterwards ``task_parameters(model, task)`` hold dL_task and everything else the sum over the
    tasks: step one optimiser per task, clear those gradients, then step the main optimiser. All
    gradients are those at the weights before the step, where the paper's algorithm computes the
    later ones anew: (1 + 2t) / 3 times the cost of a dense step, not 1 + t, for t tasks.
    Under DistributedDataParallel they are averaged outside of its reducer, which takes one
    backward pass per forward pass.

    Args:
        model: A network expanded by a method that trains some factors by task.
        optimizer: The optimiser of everything else; only checked.
        frobenius: Coefficient of the Frobenius decay, which reaches each task's factors too.
        scaler: As in ``training_step``.

    Raises:
        UsageError: The network is not expanded; the optimiser does not fit; blocks are nested.

    Source: Ren & Shi, algorithm 1.
    """
    layers = factors_in(model)
    shared = [p for factors in layers for p in factors.shared_parameters()]
    own = {task: task_parameters(model, task) for task in layers[0].tasks}
    every = [parameter for parameters in own.values() for parameter in parameters]
    check_optimizer(optimizer, shared, undecayed=every)
    check_no_gradient(optimizer, every, "factors of single tasks are trained apart")
    found: dict[str, tuple[Tensor, ...]] = {}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with averaged_apart(model, trained):
        with gradients_kept(every), one_contraction(layers, frobenius, scaler) as kernels:
            yield partial(_of_task, layers, kernels, own, frobenius, scaler, found)
        for task, gradients in found.items():
            for parameter, gradient in zip(own[task], gradients, strict=True):
                before = parameter.grad
                parameter.grad = gradient if before is None else before + gradient


@contextmanager
def _of_task(
    layers: list[KernelFactors],
    kernels: list[Tensor],
    own: dict[str, list[nn.Parameter]],
    coef: float,
    scaler: GradScaler | None,
    found: dict[str, tuple[Tensor, ...]],
    task: str,
) -> Iterator[None]:
    """Pull what the block adds to the leaves back to one task's factors; keep it there as well."""
    leaves = [factors.leaf for factors in layers if factors.leaf is not None]
    earlier = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    yield
    grads = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    found[task] = torch.autograd.grad(
        kernels,
        own[task],
        [g + decay_of(w, coef, scaler) for g, w in zip(grads, leaves, strict=True)],
        retain_graph=True,
    )
    for leaf, grad, before in zip(leaves, grads, earlier, strict=True):
        leaf.grad = grad if before is None else before + grad
