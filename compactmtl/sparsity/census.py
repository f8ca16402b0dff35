"""Count and measure what is zero, and make the same zero elsewhere."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.sparsity.channel_groups import ChannelGroups


@dataclass(frozen=True)
class LayerCensus:
    """Zero and all groups (input channels), filters (output channels), weights of one kernel."""

    name: str
    num_groups: int
    zero_groups: int
    num_filters: int
    zero_filters: int
    num_weights: int
    zero_weights: int


@dataclass(frozen=True)
class Census:
    """Two of the three numbers; the channels that can be removed are the compiler's to count.

    They differ: a zero group saves work in its own layer, but the filter that feeds it can go only
    if no other layer reads it. Groups are input channels here, whatever the penalty's groups were.
    """

    num_groups: int
    zero_groups: int
    num_filters: int
    zero_filters: int
    num_weights: int
    zero_weights: int
    layers: list[LayerCensus]

    @property
    def group_sparsity(self) -> float:
        """Share of zero groups, 0 to 1."""
        return self.zero_groups / self.num_groups

    def to_dict(self) -> dict[str, Any]:
        """Return the census as JSON data."""
        return {**asdict(self), "group_sparsity": self.group_sparsity}


@torch.no_grad()
def census(model: nn.Module, groups: Sequence[ChannelGroups]) -> Census:
    """Count zero groups, filters and weights in the kernels that ``groups`` names.

    Args:
        model: A network with these layers: the one ``groups`` was built from, or a copy.
        groups: From ``compactmtl.sparsity.groups``.
    """
    layers = []
    for group in groups:
        kernel = model.get_submodule(group.name).weight
        assert isinstance(kernel, Tensor)
        zero = kernel == 0
        of_group, of_filter = zero.movedim(1, 0).flatten(1).all(1), zero.flatten(1).all(dim=1)
        layers.append(
            LayerCensus(
                name=group.name,
                num_groups=of_group.numel(),
                zero_groups=int(of_group.sum()),
                num_filters=of_filter.numel(),
                zero_filters=int(of_filter.sum()),
                num_weights=zero.numel(),
                zero_weights=int(zero.sum()),
            )
        )
    return Census(
        num_groups=sum(layer.num_groups for layer in layers),
        zero_groups=sum(layer.zero_groups for layer in layers),
        num_filters=sum(layer.num_filters for layer in layers),
        zero_filters=sum(layer.zero_filters for layer in layers),
        num_weights=sum(layer.num_weights for layer in layers),
        zero_weights=sum(layer.zero_weights for layer in layers),
        layers=layers,
    )


def group_norms(groups: Sequence[ChannelGroups]) -> dict[str, Tensor]:
    """Return the Euclidean norm of every group, (num_groups,) per layer."""
    return {group.name: group.norms() for group in groups}


def group_sparsity(groups: Sequence[ChannelGroups]) -> float:
    """Return the share of groups that are exactly zero, 0 to 1. One host synchronisation."""
    zeros = [group.is_zero().sum() for group in groups]
    return float(torch.stack(zeros).sum()) / sum(group.num_groups for group in groups)
