"""The zeros of one network, made in another that must have the same: an average of its weights."""

from collections.abc import Sequence

import torch
from torch import nn

from compactmtl.errors import UsageError
from compactmtl.sparsity.channel_groups import ChannelGroups
from compactmtl.sparsity.groups import own_parameter

WRAPPERS = ("module", "_orig_mod", "_forward_module")
"""What wrappers call the network inside: DDP and AveragedModel, torch.compile, Fabric."""


@torch.no_grad()
def apply_zero_mask(model: nn.Module, groups: Sequence[ChannelGroups]) -> int:
    """Set to zero in ``model`` what is zero in the network that ``groups`` was built from.

    An average of weights over time (EMA, SWA) is never zero where a group died on the way. Call
    this before such a network is evaluated, saved or compressed::

        ema = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=...)
        ...
        cm.apply_zero_mask(ema, groups)

    Args:
        model: A network of the same structure, possibly inside AveragedModel, DDP or torch.compile.
        groups: From ``groups(trained, ...)``, at the end of the training.

    Returns:
        The number of groups that are zero in both.

    Raises:
        UsageError: The network lacks a layer, or has one of another shape.
    """
    inner = _inner(model, groups)
    for group in groups:
        found = _parameter(inner, group)
        group.of(found).clear((group.parameter == 0).to(found.device))
    return sum(int(group.is_zero().sum()) for group in groups)


def _inner(model: nn.Module, groups: Sequence[ChannelGroups]) -> nn.Module:
    """Return the network inside its wrappers: the first that has the groups' layers."""
    names = dict(model.named_modules())
    while not all(group.name in names for group in groups):
        inside = next((w for w in WRAPPERS if isinstance(getattr(model, w, None), nn.Module)), None)
        if inside is None:
            missing = next(group.name for group in groups if group.name not in names)
            raise UsageError(
                f"{type(model).__name__} has no layer `{missing}`",
                hint="pass a copy or an average of the network that the groups were built from",
            )
        model = model.get_submodule(inside)
        names = dict(model.named_modules())
    return model


def _parameter(model: nn.Module, group: ChannelGroups) -> nn.Parameter:
    found = own_parameter(group.name, model.get_submodule(group.name))
    if found.shape != group.parameter.shape:
        raise UsageError(
            f"the weight of `{group.name}` has shape {tuple(found.shape)}, "
            f"expected {tuple(group.parameter.shape)}",
            hint="pass a copy or an average of the network that the groups were built from",
        )
    return found
