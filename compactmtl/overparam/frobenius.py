"""Frobenius decay: L2 on the contracted kernels."""

import torch
from torch import Tensor, nn

from compactmtl.errors import UsageError
from compactmtl.overparam.kernel import expanded_layers


def frobenius(model: nn.Module, coef: float) -> Tensor:
    """Return 0.5 * coef * sum ||W||^2 over all contracted kernels W, differentiable.

    For your own loop: add it to the loss. Its gradient with respect to U, m and V is that of
    Khodak et al.'s decay of the product (1e-4 in the paper). It is coupled: under Adam the
    effective decay is rescaled per coordinate. ``training_step`` has the same term built in.

    Raises:
        UsageError: The network is not expanded.

    Source: Khodak et al. (2021); Ren & Shi, section 2.3.
    """
    kernels = [factors() for _, _, factors in expanded_layers(model)]
    squares = [k.to(torch.promote_types(k.dtype, torch.float32)).square().sum() for k in kernels]
    if not squares:
        raise UsageError(f"{type(model).__name__} is not expanded", hint="expand(model, ...) first")
    return 0.5 * coef * torch.stack(squares).sum()
