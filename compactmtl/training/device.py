"""The device and precision of a run, through Lightning Fabric."""

from collections.abc import Sequence

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger

from compactmtl.errors import NotPossibleHereError, UsageError
from compactmtl.recipe import TrainSection


def make_fabric(train: TrainSection, loggers: Sequence[Logger] = ()) -> Fabric:
    """Return Fabric on one device.

    Raises:
        UsageError: No such kind of device.
        NotPossibleHereError: This machine lacks the device, or it lacks the precision. (Fabric
            itself would warn and take another.)
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
    devices = [int(index)] if index else 1
    return Fabric(
        accelerator=kind, devices=devices, precision=train.precision, loggers=list(loggers)
    )


def available_devices() -> list[str]:
    """Return the devices of this machine; the last is the one `auto` takes the kind of."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *mps, *cuda]
