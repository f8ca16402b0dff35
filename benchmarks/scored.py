"""Metrics of a trained network on the test split, in the process that trained it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from compactmtl.data import DATASETS
from compactmtl.data.batch import loader
from compactmtl.multitask.evaluate import evaluate
from compactmtl.parts import find_part
from compactmtl.recipe import Recipe
from compactmtl.training import NullReporter
from compactmtl.training.assemble import load_split


def scored(model: nn.Module, recipe: Recipe, names: list[str] | None = None) -> Any:
    """Return the metrics on the test split.

    Args:
        model: Images -> outputs by task, or in the order of ``names``.
        recipe: What it was trained by.
        names: The tasks of the outputs of a compact network.
    """
    declared = find_part(recipe.data.name, DATASETS, "data set").declared_tasks
    tasks = {name: declared(**recipe.data.args)[name] for name in recipe.tasks}
    data = load_split(recipe, "test", NullReporter())
    batches = loader(
        data, tasks, batch_size=recipe.data.batch_size, shuffle=False,
        generator=torch.Generator().manual_seed(0), num_workers=0,
    )  # fmt: skip

    def predict(images: torch.Tensor) -> Mapping[str, Any]:
        with torch.no_grad():
            outputs = model.eval()(images)
        if isinstance(outputs, Mapping):
            return outputs
        assert names is not None
        return dict(zip(names, outputs, strict=True))

    return evaluate(predict, batches, tasks)
