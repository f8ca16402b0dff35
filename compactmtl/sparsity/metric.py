"""Adam's metric: how stiff each weight, or each group of a factored kernel, is to move.

A factored kernel W = L V (L = U * m) has no metric per weight that means anything: an Adam metric
of V changes when L is scaled by c and V by 1/c, which leaves W as it is. So each of its groups has
one number, the rms of dL/dW[:, c] as the optimiser can see it. The gradient of V is L^T dW, and for
a dW[:, c] without preferred direction the mean square of an entry is

    ||dV_c||^2 / (x ||L||^2),    x places of the kernel per row of V's block,

which is exact where the columns of L are orthonormal and square, and does not change under
(c L, V / c). Its moving average takes the place of Adam's.

Source: research on both papers; neither has it.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from compactmtl.sparsity.channel_groups import ALL, ChannelGroups

SQUARE, COUNT = "kernel_square", "kernel_count"
"""In the state of V: the moving average per group, and the number of steps in it."""


@torch.no_grad()
def kernel_square(group: ChannelGroups) -> Tensor:
    """Return the mean square of dL/dW[:, c] as V's gradient shows it, (num_groups, 1).

    Call it before V and L move: it is their gradient, there.
    """
    gradient = group.parameter.grad
    assert group.factors is not None
    assert gradient is not None
    wide = torch.promote_types(gradient.dtype, torch.float32)
    shape = group.factors.kernel_shape
    places = shape[-1] if len(shape) == 4 else 1
    size = places * group.factors.output_factor().to(wide).square().sum()
    squares = group.rows(gradient).to(wide).square().sum(dim=1, keepdim=True)
    mean: Tensor = squares / size.clamp_min(torch.finfo(wide).tiny)
    return mean


@torch.no_grad()
def take_in(square: Tensor, state: dict[str, Any], beta2: float) -> None:
    """Add a mean square to its moving average in an optimiser's state."""
    if SQUARE not in state:
        state[SQUARE], state[COUNT] = torch.zeros_like(square), 0
    state[SQUARE].lerp_(square.to(state[SQUARE].dtype), 1 - beta2)
    state[COUNT] += 1


def metric_rows(
    group: ChannelGroups,
    state: Mapping[str, Any],
    settings: Mapping[str, Any],
    kind: str,
    part: slice = ALL,
) -> Tensor:
    """Return d = sqrt(v / (1 - b2^t)) + eps: (num_groups, n), or (num_groups, 1) if factored.

    Args:
        group: The groups of one kernel.
        state: The optimiser's state of its parameter.
        settings: The optimiser's settings for it: ``betas`` and ``eps``.
        kind: "corrected", or "reference": without the division.
        part: As for ``ChannelGroups.rows``.
    """
    return root_mean_square(group, state, settings, kind, part).add_(cast(float, settings["eps"]))


def root_mean_square(
    group: ChannelGroups,
    state: Mapping[str, Any],
    settings: Mapping[str, Any],
    kind: str,
    part: slice = ALL,
) -> Tensor:
    """Return the metric without eps: the rms of the gradient, of which Adam keeps the average."""
    if group.factors is None:
        root = group.rows(state["exp_avg_sq"], part).sqrt()
        count = float(state["step"])  # kept on the CPU by AdamW: nothing waits for the device
    else:
        root, count = cast(Tensor, state[SQUARE])[part].sqrt(), float(state[COUNT])
    if kind == "corrected":
        root.div_((1 - settings["betas"][1] ** count) ** 0.5)
    return root
