"""What `compactmtl train` does, as a plain PyTorch loop: on a CPU the weights are equal to the bit.

Usage: python plain_loop.py recipe.toml weights.pt
"""

import sys
from pathlib import Path

import torch
from torch import nn

from compactmtl.data import DATASETS
from compactmtl.data.batch import collate
from compactmtl.models.recipes import load
from compactmtl.recipe import Recipe
from compactmtl.training import epoch_order, initial_network, lr_factor, seed_epoch


def train(recipe: Recipe) -> nn.Module:
    """Train a recipe that has neither overparam nor sparsity."""
    make_dataset = DATASETS[recipe.data.name]
    dataset = make_dataset("train", **recipe.data.args)
    declared = make_dataset.declared_tasks(**recipe.data.args)
    tasks = {name: declared[name] for name in recipe.tasks}
    model = initial_network(recipe, tasks)  # seeds, then builds
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.train.lr, weight_decay=recipe.train.weight_decay
    )
    size = recipe.data.batch_size
    steps_per_epoch = len(dataset) // size  # a last, smaller batch is dropped
    num_steps = steps_per_epoch * recipe.train.epochs

    model.train()
    for epoch in range(recipe.train.epochs):
        seed_epoch(recipe.seed, epoch)
        order = epoch_order(len(dataset), recipe.seed, epoch)
        for step in range(steps_per_epoch):
            samples = [dataset[i] for i in order[step * size : (step + 1) * size]]
            images, targets = collate(samples, tasks)
            for group in optimizer.param_groups:
                done = epoch * steps_per_epoch + step
                group["lr"] = recipe.train.lr * lr_factor(done, num_steps, recipe.train)
            outputs = model(images)
            losses = [
                recipe.tasks[name].weight * task.loss(outputs[name], targets[name])
                for name, task in tasks.items()
            ]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: " + ", ".join(f"{loss.item():.4f}" for loss in losses))
    return model


if __name__ == "__main__":
    _, recipe_path, weights_path = sys.argv
    network = train(load(recipe_path, ()))
    torch.save(network.state_dict(), Path(weights_path))
