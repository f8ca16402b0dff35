"""The steps that are compared, each split into its parts by process CPU time."""

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from compactmtl.complexity import count
from compactmtl.models import MODELS
from compactmtl.overparam import (
    expand,
    frobenius,
    param_groups,
    task_parameters,
    task_step,
    training_step,
)
from compactmtl.sparsity import ProximalAdamW

TASKS = {"seg": 13, "depth": 1, "normals": 3}
COEF = 1e-4
"""Frobenius decay: the paper's."""
PARTS = ("contraction", "network", "pull_back", "optimizer")

Step = Callable[[Tensor], dict[str, float]]


@dataclass(frozen=True)
class Case:
    """A network, a batch and an image size, written ``segnet_s:8x128x128``."""

    model: str
    batch: int
    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Read a case as it is written."""
        model, _, size = text.partition(":")
        batch, height, width = (int(number) for number in size.split("x"))
        if model not in MODELS:
            raise ValueError(f"no network called {model}")
        return cls(model, batch, height, width)

    def __str__(self) -> str:
        return f"{self.model}:{self.batch}x{self.height}x{self.width}"

    def image(self) -> Tensor:
        """Return a random batch."""
        return torch.rand(self.batch, 3, self.height, self.width)


def make_steps(case: Case, kinds: list[str]) -> dict[str, Step]:
    """Return a step function for each kind; all start from the same network and the same rate."""
    steps: dict[str, Step] = {}
    for kind in kinds:
        if kind == "dense":
            steps[kind] = dense_step(case)
        elif kind not in steps:
            steps |= umv_steps(case)
    return {kind: steps[kind] for kind in kinds}


def dense_step(case: Case) -> Step:
    """Return a step of the network with plain layers."""
    net = network(case)
    optimizer = ProximalAdamW(net.parameters(), groups=(), lam=0.0, lr=1e-4)
    return lambda image: timed(optimizer, nullcontext(), lambda: loss_of(net, image))


def umv_steps(case: Case) -> dict[str, Step]:
    """Return the steps of the network with U M V layers; all train the same factors."""
    net = network(case)
    expand(net, tasks=list(TASKS))
    main = ProximalAdamW(param_groups(net, lr=1e-4), groups=(), lam=0.0)
    own = torch.optim.Adam(task_parameters(net, "seg"), lr=1e-4)

    def plain_loop(image: Tensor) -> dict[str, float]:
        return timed(main, nullcontext(), lambda: loss_of(net, image) + frobenius(net, COEF))

    def one_contraction(image: Tensor) -> dict[str, float]:
        block = training_step(net, main, frobenius=COEF)
        return timed(main, block, lambda: loss_of(net, image))

    def of_one_task(image: Tensor) -> dict[str, float]:
        main.zero_grad()  # the optimiser of one task's m must find nothing else
        block = task_step(net, "seg", own, frobenius=COEF)
        return timed(own, block, lambda: net(image)["seg"].square().mean())

    return {"plain_loop": plain_loop, "training_step": one_contraction, "task_step": of_one_task}


def network(case: Case) -> nn.Module:
    """Return the case's network, always with the same weights."""
    torch.manual_seed(0)
    return MODELS[case.model](TASKS)


def timed(
    optimizer: torch.optim.Optimizer,
    block: AbstractContextManager[None],
    loss: Callable[[], Tensor],
) -> dict[str, float]:
    """Do one step; return its CPU seconds by part."""
    clock = [time.process_time()]
    optimizer.zero_grad()
    with block:
        clock.append(time.process_time())
        loss().backward()
        clock.append(time.process_time())
    clock.append(time.process_time())
    optimizer.step()
    clock.append(time.process_time())
    spent = [after - before for before, after in pairwise(clock)]
    return dict(zip(PARTS, spent, strict=True))


def loss_of(net: nn.Module, image: Tensor) -> Tensor:
    """Return a loss that reaches every parameter."""
    outputs: dict[str, Tensor] = net(image)
    return torch.stack([output.square().mean() for output in outputs.values()]).sum()


def num_macs(case: Case) -> tuple[int, int]:
    """Return the multiply-accumulates of a batch's forward pass, and of one contraction."""
    net = MODELS[case.model](TASKS)
    forward = count(copy.deepcopy(net).eval(), torch.rand(1, 3, case.height, case.width)).macs
    with torch.device("meta"):
        umv = MODELS[case.model](TASKS)
    contraction = 0
    for name, layer in umv.named_modules():
        if name.startswith("encoder") and isinstance(layer, nn.Conv2d):
            out, inn, height, width = layer.weight.shape
            rows, columns = out * height, inn * width
            contraction += rows * min(rows, columns) * columns
    return forward * case.batch, contraction
