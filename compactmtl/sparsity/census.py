"""Count what is zero."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from compactmtl.sparsity.groups import ChannelGroups


@dataclass(frozen=True)
class LayerCensus:
    """Zero and all groups (input channels) and filters (output channels) of one kernel."""

    name: str
    num_groups: int
    zero_groups: int
    num_filters: int
    zero_filters: int


@dataclass(frozen=True)
class Census:
    """Two of the three numbers; the channels that can be removed are the compiler's to count.

    They differ: a zero group saves work in its own layer, but the filter that feeds it can go only
    if no other layer reads it.
    """

    num_groups: int
    zero_groups: int
    num_filters: int
    zero_filters: int
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
    """Count zero groups and zero filters in the kernels that ``groups`` names.

    Args:
        model: A network with these layers: the one ``groups`` was built from, or a copy.
        groups: From ``compactmtl.sparsity.groups``.
    """
    layers = []
    for group in groups:
        zero = model.get_submodule(group.name).get_parameter("weight") == 0
        of_group, of_filter = group.rows(zero).all(dim=1), zero.flatten(1).all(dim=1)
        layers.append(
            LayerCensus(
                name=group.name,
                num_groups=of_group.numel(),
                zero_groups=int(of_group.sum()),
                num_filters=of_filter.numel(),
                zero_filters=int(of_filter.sum()),
            )
        )
    return Census(
        num_groups=sum(layer.num_groups for layer in layers),
        zero_groups=sum(layer.zero_groups for layer in layers),
        num_filters=sum(layer.num_filters for layer in layers),
        zero_filters=sum(layer.zero_filters for layer in layers),
        layers=layers,
    )
