"""Overparameterisation: layers with more parameters in training, the same layers afterwards."""

from compactmtl.overparam.branched import BranchedConv
from compactmtl.overparam.contract import contract, contracted_state_dict
from compactmtl.overparam.expand import ExpandReport, expand, has_factors, is_expanded
from compactmtl.overparam.frobenius import frobenius
from compactmtl.overparam.kernel import KernelFactors
from compactmtl.overparam.methods import METHODS, find_method
from compactmtl.overparam.minibatch import minibatch_step
from compactmtl.overparam.parameters import (
    backward_leaves,
    m_reach,
    param_groups,
    task_parameters,
    trains_by_task,
)
from compactmtl.overparam.specification import expand_like, expansion_spec
from compactmtl.overparam.step import training_step
from compactmtl.overparam.task import task_step

__all__ = [
    "METHODS",
    "BranchedConv",
    "ExpandReport",
    "KernelFactors",
    "backward_leaves",
    "contract",
    "contracted_state_dict",
    "expand",
    "expand_like",
    "expansion_spec",
    "find_method",
    "frobenius",
    "has_factors",
    "is_expanded",
    "m_reach",
    "minibatch_step",
    "param_groups",
    "task_parameters",
    "task_step",
    "training_step",
    "trains_by_task",
]
