"""Random raw outputs and targets of every kind, with some pixels invalid."""

import pytest
import torch
from torch import Tensor

from compactmtl.multitask import Task, make_task

CASES = {
    "segmentation": ("segmentation", {"num_classes": 5}),
    "depth": ("depth", {}),
    "normals": ("normals", {}),
    "binary": ("binary", {"pos_weight": 2.0}),
    "regression-1": ("regression", {"num_channels": 1, "value_range": (-2.0, 2.0)}),
    "regression-2": ("regression", {"num_channels": 2}),
    "regression-3": ("regression", {"num_channels": 3}),
}


def clean_target(task: Task, num: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    shape = (num, task.num_channels, *size)
    if task.kind == "segmentation":
        return torch.randint(0, 4, (num, *size), generator=generator)  # class 4 never occurs
    if task.kind == "depth":
        return torch.rand(shape, generator=generator) * 8 + 0.5
    if task.kind == "normals":
        return torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=1)
    if task.kind == "binary":
        return (torch.rand(shape, generator=generator) > 0.6).float()
    return torch.randn(shape, generator=generator) + 0.5


def draw_batch(
    case: str, seed: int = 0, num: int = 3, size: tuple[int, int] = (5, 7)
) -> tuple[Task, Tensor, Tensor, Tensor]:
    """Return task, raw output, target and the (N, H, W) mask of pixels made invalid."""
    kind, args = CASES[case]
    task = make_task("x", kind, args)
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(num, task.num_channels, *size, generator=generator)
    target = clean_target(task, num, size, generator)
    invalid = torch.rand(num, *size, generator=generator) < 0.3
    nothing = task.missing(*size).expand_as(target)
    mask = invalid if target.ndim == 3 else invalid.unsqueeze(1)
    return task, raw, torch.where(mask, nothing, target), invalid


@pytest.fixture(scope="session")
def draw():
    return draw_batch


@pytest.fixture(params=list(CASES))
def case(request):
    return request.param
