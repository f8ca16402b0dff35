"""How the network runs: compiled or not, and in which order its images lie in memory."""

import torch
from torch import Tensor, nn

from compactmtl.errors import NotPossibleHereError, RecipeError
from compactmtl.recipe import Recipe, TrainSection


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


def check_compile(recipe: Recipe) -> None:
    """Refuse what needs several backward passes through one compiled forward pass.

    Raises:
        RecipeError: The recipe asks for both.
    """
    by_step = recipe.overparam is not None and recipe.overparam.iterative == "minibatch"
    if recipe.train.compile and by_step:
        raise RecipeError(
            'train.compile does not go with overparam.iterative = "minibatch": it runs backward '
            "once per task, and compiled code frees what it needs after the first",
            hint='set overparam.iterative to "subset", or train.compile to false',
        )


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
