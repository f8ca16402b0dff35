"""A backward pass per task, and one gradient made of theirs."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from compactmtl.errors import NonFiniteError
from compactmtl.multitask.weightings.surgery import GradientSurgery


def backward_by_gradient(
    losses: Mapping[str, Tensor],
    trained: Sequence[Tensor],
    weighting: GradientSurgery,
    backward: Callable[..., None],
) -> None:
    """Fill ``.grad``: what several tasks reach gets their aggregated gradient, the rest their sum.

    Inside ``training_step`` the kernels of expanded layers are among ``trained``: gradients are
    compared where the network computes, whatever its factors, and the result is pulled back to
    them as always.

    Args:
        losses: The loss of each task, in the order of the weighting.
        trained: The leaves to fill, all without a gradient.
        weighting: Aggregates.
        backward: Runs one loss backward; takes ``retain_graph``.

    Raises:
        NonFiniteError: A gradient is NaN or Inf.
    """
    rows: list[list[Tensor | None]] = []
    for number, loss in enumerate(losses.values(), 1):
        backward(loss, retain_graph=number < len(losses))
        rows.append([tensor.grad for tensor in trained])
        for tensor in trained:
            tensor.grad = None
    shares = weighting.get_buffer("factors").tolist()
    shared = []
    for tensor, column in zip(trained, zip(*rows, strict=True), strict=True):
        found = [(s, g) for s, g in zip(shares, column, strict=True) if g is not None]
        if len(found) > 1:
            shared.append((tensor, column))
        elif found:
            share, gradient = found[0]
            tensor.grad = share * gradient
    if not shared:
        return
    matrix = torch.stack(
        [torch.cat([_flat(t, column[i]) for t, column in shared]) for i in range(len(rows))]
    )
    for name, row in zip(losses, matrix, strict=True):
        if not torch.isfinite(row).all():
            raise NonFiniteError(f"the gradient of `{name}` holds NaN or Inf")
    sizes = [tensor.numel() for tensor, _ in shared]
    made = torch.split(weighting.aggregate(matrix), sizes)
    for (tensor, _), piece in zip(shared, made, strict=True):
        tensor.grad = piece.reshape(tensor.shape)


def _flat(tensor: Tensor, gradient: Tensor | None) -> Tensor:
    return (torch.zeros_like(tensor) if gradient is None else gradient).flatten()
