"""The optimisers of a run and their learning rates."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Adam, Optimizer

from compactmtl.overparam import is_expanded, param_groups, task_parameters
from compactmtl.recipe import Recipe
from compactmtl.sparsity import ChannelGroups, ProximalAdamW
from compactmtl.training.settings import iterative_mode

MAIN = "main"
"""The optimiser of everything; each other one has a task's name and trains that task's m."""


class Optimizers(Mapping[str, Optimizer]):
    """One optimiser in every phase, ``ProximalAdamW``: AdamW while its lam is 0, or plain Adam.

    So phases and recipes compare fairly: same steps, same weight decay. An expanded network whose
    m are trained apart has an Adam of its own for each task's m too.

    Args:
        recipe: Learning rates, decay and metric.
        model: The network as it is in this phase; another optimiser is needed after ``contract``.
        groups: The channel groups to become sparse; empty while there are none.
        further: Parameters beside the network's, trained without decay.
        tasks: The tasks that the network learns.

    Source: paper A, sections 2.3 and 3.2 (m apart from the rest and without decay); one Adam state
        per task is our reading.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        groups: Sequence[ChannelGroups],
        further: Sequence[nn.Parameter] = (),
        *,
        tasks: Sequence[str],
    ) -> None:
        train, overparam, sparsity = recipe.train, recipe.overparam, recipe.sparsity
        m_lr = train.lr if overparam is None or overparam.m_lr is None else overparam.m_lr
        params = param_groups(model, train.lr, m_lr, train.weight_decay)
        if further:
            params.append({"params": list(further), "lr": train.lr, "weight_decay": 0.0})
        self.main = ProximalAdamW(
            params,
            groups=groups,
            lam=0.0,
            metric="corrected" if sparsity is None else sparsity.metric,
            l1_share=0.0 if sparsity is None else sparsity.l1_share,
            decoupled=train.decay == "decoupled",
        )
        self._all: dict[str, Optimizer] = {MAIN: self.main}
        self.iterative = iterative_mode(overparam) if is_expanded(model) else "none"
        """How factors of single tasks are trained: subset, minibatch or none."""
        if self.iterative != "none":
            for task in tasks:
                self._all[task] = Adam(task_parameters(model, task), lr=m_lr)
        self._base = {
            name: [group["lr"] for group in optimizer.param_groups]
            for name, optimizer in self._all.items()
        }

    def __getitem__(self, name: str) -> Optimizer:
        return self._all[name]

    def __iter__(self) -> Any:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def lr(self) -> float:
        """The present learning rate of everything but m."""
        return float(self.main.param_groups[0]["lr"])

    def scale_lr(self, factor: float) -> None:
        """Set every learning rate to this multiple of what the recipe says."""
        for name, optimizer in self._all.items():
            for group, base in zip(optimizer.param_groups, self._base[name], strict=True):
                group["lr"] = base * factor

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each optimiser by name."""
        return {name: dict(optimizer.state_dict()) for name, optimizer in self._all.items()}

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        for name, optimizer in self._all.items():
            optimizer.load_state_dict(states[name])
