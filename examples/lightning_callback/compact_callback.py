"""A Lightning callback that brings both methods into any LightningModule.

The module keeps its own network, loss and loop; it only builds its optimiser with
``cm.param_groups``, or leaves that to the callback as here.
"""

from collections.abc import Sequence

import lightning
import torch

import compactmtl as cm


class CompactTraining(lightning.Callback):
    """Expand at the start; contract and penalise groups later; freeze the zeros for the rest.

    Args:
        network: Name of the network in the LightningModule.
        tasks: Names of the tasks; each gets a diagonal of its own in every expanded layer.
        contract_at: Epoch (from 0) that begins with contraction and group sparsity.
        freeze_at: Epoch that begins with the zero groups frozen.
        lam: Strength of the group penalty.
        layers: Patterns of the layers; None: what the network declares as its encoder.
    """

    def __init__(
        self,
        network: str,
        tasks: Sequence[str],
        *,
        contract_at: int,
        freeze_at: int,
        lam: float,
        layers: Sequence[str] | None = None,
    ) -> None:
        self.network, self.tasks, self.layers = network, tasks, layers
        self.contract_at, self.freeze_at, self.lam = contract_at, freeze_at, lam

    def setup(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str
    ) -> None:
        """Expand before Lightning asks for the optimiser."""
        if stage == "fit":
            cm.expand(getattr(module, self.network), tasks=self.tasks, layers=self.layers)

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule
    ) -> None:
        """Go from one phase to the next."""
        network = getattr(module, self.network)
        if trainer.current_epoch == self.contract_at:
            cm.contract(network)
            trainer.strategy.setup_optimizers(trainer)  # the parameters are new ones
            optimizer = self._optimizer(trainer)
            optimizer.lam = self.lam
        if trainer.current_epoch == self.freeze_at:
            optimizer = self._optimizer(trainer)
            optimizer.lam = 0.0
            optimizer.freeze_zeros()

    def _optimizer(self, trainer: lightning.Trainer) -> cm.ProximalAdamW:
        (optimizer,) = trainer.optimizers
        assert isinstance(optimizer, cm.ProximalAdamW)
        return optimizer


def build_optimizer(network: torch.nn.Module, lr: float, weight_decay: float) -> cm.ProximalAdamW:
    """Return the optimiser of either phase; while lam is 0 it is AdamW."""
    groups = [] if cm.is_expanded(network) else cm.groups(network)
    return cm.ProximalAdamW(
        cm.param_groups(network, lr, weight_decay=weight_decay), groups=groups, lam=0.0
    )
