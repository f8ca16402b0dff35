"""The parameters of an expanded network, sorted by how they are trained."""

from typing import Any

from torch import Tensor, nn

from compactmtl.errors import UsageError
from compactmtl.overparam.kernel import expanded_layers
from compactmtl.parts import nearest


def param_groups(
    model: nn.Module, lr: float, m_lr: float | None = None, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Return parameter groups for any torch optimiser.

    U and V have no weight decay (the Frobenius term is theirs), m has none and its own learning
    rate; everything else is normal. A network that is not expanded gives one group.

    Args:
        model: The network, after ``expand``.
        lr: Learning rate of everything but m.
        m_lr: Learning rate of m; None: ``lr``. An Adam step moves m by at most about this much.
        weight_decay: Decay of everything but U, V and m.

    Source: Ren & Shi, section 3.2 (m is trained without weight decay); Khodak et al. (2021) (no
    decay on the factors).
    """
    layers = [factors for _, _, factors in expanded_layers(model)]
    shared = [p for factors in layers for p in factors.shared_parameters()]
    own = [p for factors in layers for t in factors.tasks for p in factors.task_parameters(t)]
    special = {id(parameter) for parameter in (*shared, *own)}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in special]
    groups = [
        {"params": rest, "lr": lr, "weight_decay": weight_decay},
        {"params": shared, "lr": lr, "weight_decay": 0.0},
        {"params": own, "lr": lr if m_lr is None else m_lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def task_parameters(model: nn.Module, task: str) -> list[nn.Parameter]:
    """Return the parameters that only this task trains: its m of every expanded layer.

    (``uvshare``: its blocks of U and V. Empty for methods that all tasks train alike.)

    Raises:
        UsageError: The network is not expanded, or has no such task.
    """
    layers = [factors for _, _, factors in expanded_layers(model)]
    if not layers:
        raise UsageError(f"{type(model).__name__} is not expanded", hint="expand(model, ...) first")
    tasks = layers[0].tasks
    if task not in tasks:
        raise UsageError(
            f"the network was expanded without task `{task}`{nearest(task, tasks)}",
            hint=f"its tasks are: {', '.join(tasks)}",
        )
    return [parameter for factors in layers for parameter in factors.task_parameters(task)]


def backward_leaves(model: nn.Module) -> list[Tensor]:
    """Return the tensors that a backward pass fills: all trained parameters.

    Inside ``training_step`` and ``task_step`` the kernels take the place of their factors.
    """
    layers = [factors for _, _, factors in expanded_layers(model)]
    kernels = [factors.leaf for factors in layers if factors.leaf is not None]
    behind = {id(p) for f in layers if f.leaf is not None for p in f.parameters()}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in behind]
    return [leaf for leaf in (*kernels, *rest) if leaf.requires_grad]


def trains_by_task(model: nn.Module) -> bool:
    """Tell whether some factors of the network are trained by the loss of one task alone."""
    return any(factors.trains_by_task for _, _, factors in expanded_layers(model))


def m_reach(model: nn.Module) -> dict[str, float]:
    """Return max |m - 1| over all layers, per task: how far the diagonals have moved.

    Empty if the network is not expanded, or by a method whose factors have no fixed start.
    """
    reach: dict[str, float] = {}
    for _, _, factors in expanded_layers(model):
        for task in factors.tasks:
            found = factors.reach(task)
            if found is not None:
                reach[task] = max(reach.get(task, 0.0), float(found))
    return reach
