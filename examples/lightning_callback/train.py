"""Train a multi-task network with Lightning's Trainer and the callback.

Usage: python train.py weights.safetensors [epochs]
"""

import sys
from functools import partial

import lightning
import torch
from compact_callback import CompactTraining, build_optimizer
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader

import compactmtl as cm
from compactmtl.data import DATASETS
from compactmtl.data.batch import collate
from compactmtl.models import MODELS

SIZE = {"height": 48, "width": 64}


class Rooms(lightning.LightningModule):
    """An ordinary LightningModule: a network, the sum of its tasks' losses, an optimiser."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks = DATASETS["rooms"].declared_tasks(**SIZE)
        channels = {name: task.num_channels for name, task in self.tasks.items()}
        self.network = MODELS["segnet"](channels, widths=(8, 16, 16, 32, 32))

    def training_step(self, batch: tuple[Tensor, dict[str, Tensor]], index: int) -> Tensor:
        images, targets = batch
        outputs = self.network(images)
        losses = {n: task.loss(outputs[n], targets[n]) for n, task in self.tasks.items()}
        self.log_dict({f"loss/{name}": loss for name, loss in losses.items()})
        total = sum(losses.values())
        if cm.is_expanded(self.network):
            total = total + cm.frobenius(self.network, 1e-4)
        return total

    def configure_optimizers(self) -> cm.ProximalAdamW:
        return build_optimizer(self.network, lr=2e-3, weight_decay=1e-4)


def train(epochs: int = 6, num_images: int = 64, lam: float = 0.1) -> Rooms:
    """Train a third of the epochs expanded, a third group-sparse, a third with zeros frozen."""
    lightning.seed_everything(0, verbose=False)
    module = Rooms()
    dataset = DATASETS["rooms"]("train", num_images=num_images, **SIZE)
    batches = DataLoader(
        dataset,
        batch_size=8,
        shuffle=True,
        drop_last=True,
        collate_fn=partial(collate, tasks=module.tasks),
    )
    callback = CompactTraining(
        "network",
        list(module.tasks),
        contract_at=max(1, epochs // 3),
        freeze_at=max(2, 2 * epochs // 3),
        lam=lam,
    )
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, batches)
    return module


if __name__ == "__main__":
    path = sys.argv[1]
    trained = train(*(int(text) for text in sys.argv[2:3]))
    counts = cm.census(trained.network.eval(), torch.rand(2, 3, 64, 64))
    print(f"zero groups: {counts['zero_groups']} of {counts['num_groups']}")
    print(f"removable channels: {counts['removable_channels']} of {counts['num_channels']}")
    save_file(trained.network.state_dict(), path)
