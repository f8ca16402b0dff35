"""How the network runs: compiled or not, and in which order its images lie in memory."""

import torch
from torch import Tensor, nn

from compactmtl.errors import NotPossibleHereError
from compactmtl.recipe import TrainSection


def as_run(model: nn.Module, train: TrainSection) -> nn.Module:
    """Return the network as the recipe runs it; its weights are laid out in place.

    Under ``train.compile`` the result is a wrapper around the same parameters. Parametrised layers
    compile as they are: inside ``training_step`` and ``task_step`` their kernels are plain inputs.
    """
    if train.channels_last:
        model.to(memory_format=torch.channels_last)
    return torch.compile(model) if train.compile else model  # type: ignore[return-value]


def laid_out(images: Tensor, train: TrainSection) -> Tensor:
    """Return images (N, 3, H, W) in the recipe's memory format."""
    return images.contiguous(memory_format=torch.channels_last) if train.channels_last else images


def check_compiler(device: torch.device) -> None:
    """Compile one addition, so that a machine that cannot says so before the first step.

    Raises:
        NotPossibleHereError: It cannot; most often it has no C++ compiler.
    """
    compiled = torch.compile(_one_more, options={"force_disable_caches": True})
    try:
        compiled(torch.zeros(2, device=device))
    except RuntimeError as error:  # what torch.compile raises has this root alone in common
        raise NotPossibleHereError(
            f"train.compile: torch.compile does not work on {device.type} here: "
            f"{str(error).strip().splitlines()[0]}",
            hint="install a C++ compiler (g++), or set train.compile to false",
        ) from error


def _one_more(x: Tensor) -> Tensor:
    return x.sin() + 1
