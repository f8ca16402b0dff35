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
from compactmtl.sparsity.schedule import Schedule
from compactmtl.sparsity.schedules import Constant, Ramp, make_schedule
from compactmtl.sparsity.target import Target

__all__ = [
    "Census",
    "ChannelGroups",
    "Constant",
    "LayerCensus",
    "ProximalAdamW",
    "Ramp",
    "Schedule",
    "Target",
    "census",
    "group_norms",
    "group_prox",
    "group_sparsity",
    "groups",
    "make_schedule",
    "skipped_layers",
]
