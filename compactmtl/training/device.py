"""The devices and the precision of a run, through Lightning Fabric."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn

from compactmtl.errors import NotPossibleHereError, UsageError
from compactmtl.recipe import TrainSection
from compactmtl.training.processes import launched_processes


class Replicated(DDPStrategy):
    """Fabric's processes without its wrapper: ``Processes`` averages the gradients."""

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        """Return the module as it is."""
        return module


def make_fabric(train: TrainSection, loggers: Sequence[Logger] = ()) -> Fabric:
    """Return Fabric on one device, or on the device of each process that torchrun started.

    Raises:
        UsageError: No such kind of device.
        NotPossibleHereError: This machine lacks the device, or one for each process, or it lacks
            the precision. (Fabric itself would warn and take another.)
    """
    kind, _, index = train.device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise UsageError(f"no device called `{train.device}`", hint="auto, cpu, cuda, cuda:1, mps")
    here = available_devices()
    if kind == "auto":
        kind = here[-1].partition(":")[0]
    wanted = f"{kind}:{index or 0}" if kind == "cuda" else kind
    if wanted not in here:
        raise NotPossibleHereError(
            f"this machine has no `{train.device}`", hint=f"it has: {', '.join(here)}"
        )
    if (train.precision == "16-mixed" and kind == "cpu") or (
        train.precision == "64-true" and kind == "mps"
    ):
        raise NotPossibleHereError(
            f"precision {train.precision} cannot run on {kind}",
            hint="bf16-mixed runs on cpu and cuda, 32-true everywhere",
        )
    settings: dict[str, Any] = {"precision": train.precision, "loggers": list(loggers)}
    num = launched_processes()
    if num > 1:
        return _launched(num, kind, train.device, settings)
    devices = [int(index)] if index else 1
    # Named, or Fabric would look for a scheduler, and find one in an interactive shell of Slurm.
    return Fabric(accelerator=kind, devices=devices, plugins=LightningEnvironment(), **settings)


def _launched(num: int, kind: str, device: str, settings: dict[str, Any]) -> Fabric:
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    if num % here:
        raise UsageError(
            f"{num} processes, {here} of them on this machine, expected as many on each machine"
        )
    if kind == "mps" or ":" in device:
        raise UsageError(
            f"train.device is `{device}`, and there are {num} processes",
            hint="cpu, cuda or auto: each process takes a device of its own",
        )
    if kind == "cuda" and here > torch.cuda.device_count():
        raise NotPossibleHereError(
            f"{here} processes on this machine, and {torch.cuda.device_count()} GPUs",
            hint="start one process for each GPU: torchrun --nproc-per-node",
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would print a banner
    fabric = Fabric(
        accelerator=kind, devices=here, num_nodes=num // here, strategy=Replicated(),
        plugins=TorchElasticEnvironment(), **settings,
    )  # fmt: skip
    fabric.launch()
    return fabric


def available_devices() -> list[str]:
    """Return the devices of this machine; the last is the one `auto` takes the kind of."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *mps, *cuda]
