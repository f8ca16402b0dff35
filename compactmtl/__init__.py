"""Train compact multi-task CNNs, compile them exactly, export and measure them."""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

import compactmtl.board  # noqa: F401  (keeps ONNX Runtime from sending usage data)

__version__ = "0.1.0"

# Public name -> module that defines it. Loaded on first use: importing compactmtl loads no torch.
_HOMES = {
    "CompactModel": "compactmtl.compact",
    "CompactNetwork": "compactmtl.compact_network",
    "ProximalAdamW": "compactmtl.sparsity",
    "Recipe": "compactmtl.recipe",
    "Task": "compactmtl.multitask",
    "apply_zero_mask": "compactmtl.sparsity",
    "bench": "compactmtl.bench",
    "census": "compactmtl.compiler",
    "compress": "compactmtl.compiler",
    "contract": "compactmtl.overparam",
    "contracted_state_dict": "compactmtl.overparam",
    "expand": "compactmtl.overparam",
    "export": "compactmtl.export",
    "fit": "compactmtl.training",
    "frobenius": "compactmtl.overparam",
    "groups": "compactmtl.sparsity",
    "is_expanded": "compactmtl.overparam",
    "load": "compactmtl.compact",
    "load_network": "compactmtl.compact_network",
    "minibatch_step": "compactmtl.overparam",
    "param_groups": "compactmtl.overparam",
    "replay": "compactmtl.compiler",
    "report": "compactmtl.report",
    "stitch": "compactmtl.compiler",
    "task_step": "compactmtl.overparam",
    "training_step": "compactmtl.overparam",
}

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from compactmtl.bench import bench as bench
    from compactmtl.compact import CompactModel as CompactModel
    from compactmtl.compact import load as load
    from compactmtl.compact_network import CompactNetwork as CompactNetwork
    from compactmtl.compact_network import load_network as load_network
    from compactmtl.compiler import census as census
    from compactmtl.compiler import compress as compress
    from compactmtl.compiler import replay as replay
    from compactmtl.compiler import stitch as stitch
    from compactmtl.export import export as export
    from compactmtl.multitask import Task as Task
    from compactmtl.overparam import contract as contract
    from compactmtl.overparam import contracted_state_dict as contracted_state_dict
    from compactmtl.overparam import expand as expand
    from compactmtl.overparam import frobenius as frobenius
    from compactmtl.overparam import is_expanded as is_expanded
    from compactmtl.overparam import minibatch_step as minibatch_step
    from compactmtl.overparam import param_groups as param_groups
    from compactmtl.overparam import task_step as task_step
    from compactmtl.overparam import training_step as training_step
    from compactmtl.recipe import Recipe as Recipe
    from compactmtl.report import report as report
    from compactmtl.sparsity import ProximalAdamW as ProximalAdamW
    from compactmtl.sparsity import apply_zero_mask as apply_zero_mask
    from compactmtl.sparsity import groups as groups
    from compactmtl.training.fit import fit as fit


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'compactmtl' has no attribute {name!r}")
    module = importlib.import_module(_HOMES[name])
    value = getattr(module, name)
    globals()[name] = value
    return value


class _Package(types.ModuleType):
    """Keeps `compactmtl.export` the function when the package of that name is imported.

    Python binds a submodule to its parent's attribute on import; several verbs of the public API
    are called as the room they live in.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
