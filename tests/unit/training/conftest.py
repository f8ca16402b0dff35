"""A data set that fits in memory, its tasks, and a recipe that trains on it in a second."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from compactmtl import recipe as recipes
from compactmtl.multitask import Task, make_task

HEIGHT, WIDTH = 16, 24


class Blobs:
    """Coloured noise; which channel is strongest is the class, brightness is the depth."""

    def __init__(self, num: int, seed: int = 0, *, without_depth: frozenset[int] = frozenset()):
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(num, 3, HEIGHT // 4, WIDTH // 4, generator=generator)
        self.images = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
        self.without_depth = without_depth

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        image = self.images[index]
        targets = {"seg": image.argmax(0), "depth": 0.5 + image.mean(0, keepdim=True)}
        if index in self.without_depth:
            del targets["depth"]
        return image, targets


@pytest.fixture
def blobs() -> type[Blobs]:
    return Blobs


@pytest.fixture
def tasks() -> dict[str, Task]:
    return {
        "seg": make_task("seg", "segmentation", {"num_classes": 3}),
        "depth": make_task("depth", "depth", {}),
    }


@pytest.fixture
def make_recipe() -> Callable[..., recipes.Recipe]:
    """Build a recipe for Blobs from sections; ``train`` and the others are merged in."""

    def make(**sections: Any) -> recipes.Recipe:
        document: dict[str, Any] = {
            "name": "blobs",
            "model": {"name": "segnet", "args": {"widths": [6, 8]}},
            "data": {"name": "given", "batch_size": 4},
            "tasks": {"seg": {}, "depth": {}},
            "train": {"epochs": 2, "lr": 1e-2, "weight_decay": 1e-2, "device": "cpu"},
        }
        for name, section in sections.items():
            both = isinstance(section, dict) and name in ("model", "data", "train")
            document[name] = document[name] | section if both else section
        return recipes.parse(document, source="test")

    return make


@pytest.fixture
def train(blobs, tasks, make_recipe, tmp_path) -> Callable[..., Any]:
    """Fit a recipe on Blobs; ``sections`` as for ``make_recipe``, other arguments go to ``fit``."""
    from compactmtl.training import fit

    def run(*, fit_args: dict[str, Any] | None = None, **sections: Any) -> Any:
        arguments: dict[str, Any] = {
            "root": tmp_path / "runs",
            "train_data": blobs(18),
            "val_data": blobs(6, seed=1),
            "tasks": tasks,
        }
        return fit(make_recipe(**sections), **arguments | (fit_args or {}))

    return run
