"""Group sparsity: what is grouped, how it is driven to zero, and how much of it is zero."""

from compactmtl.sparsity.census import (
    Census,
    LayerCensus,
    census,
    group_norms,
    group_sparsity,
)
from compactmtl.sparsity.channel_groups import ChannelGroups
from compactmtl.sparsity.groups import groups, skipped_layers
from compactmtl.sparsity.one_shot import prune_smallest
from compactmtl.sparsity.optimizer import ProximalAdamW
from compactmtl.sparsity.prox import group_prox, l1_prox, sparse_group_prox
from compactmtl.sparsity.schedule import Schedule
from compactmtl.sparsity.schedules import Constant, Once, Ramp, make_schedule
from compactmtl.sparsity.target import Target
from compactmtl.sparsity.target_cost import TargetCost
from compactmtl.sparsity.zero_mask import apply_zero_mask

__all__ = [
    "Census",
    "ChannelGroups",
    "Constant",
    "LayerCensus",
    "Once",
    "ProximalAdamW",
    "Ramp",
    "Schedule",
    "Target",
    "TargetCost",
    "apply_zero_mask",
    "census",
    "group_norms",
    "group_prox",
    "group_sparsity",
    "groups",
    "l1_prox",
    "make_schedule",
    "prune_smallest",
    "skipped_layers",
    "sparse_group_prox",
]
