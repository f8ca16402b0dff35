"""Group sparsity: what is grouped, how it is driven to zero, and how much of it is zero."""

from compactmtl.sparsity.census import Census, LayerCensus, census
from compactmtl.sparsity.groups import (
    ChannelGroups,
    group_norms,
    group_sparsity,
    groups,
    skipped_layers,
)
from compactmtl.sparsity.optimizer import ProximalAdamW
from compactmtl.sparsity.prox import group_prox
from compactmtl.sparsity.schedules import Schedule, make_schedule

__all__ = [
    "Census",
    "ChannelGroups",
    "LayerCensus",
    "ProximalAdamW",
    "Schedule",
    "census",
    "group_norms",
    "group_prox",
    "group_sparsity",
    "groups",
    "make_schedule",
    "skipped_layers",
]
