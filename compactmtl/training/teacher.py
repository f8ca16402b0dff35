"""Stay close to a network that was trained before: distillation from the dense checkpoint."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compactmtl.errors import RecipeError
from compactmtl.recipe import Recipe
from compactmtl.weights import fit_weights, load_weights

SMALLEST = 1e-8


class Teacher:
    """The network of ``train.init``, as it came, in eval mode.

    Args:
        model: A plain network of the same structure, whose weights do not matter; it is copied.
        init: Its file of weights.
        weight: Factor of the loss.

    Source: Ba & Caruana (2014), Do Deep Nets Really Need to be Deep, section 2.3: raw outputs are
        matched by their squared difference; here in units of the teacher's variance, so that tasks
        of any unit weigh alike.
    """

    def __init__(self, model: nn.Module, init: str, weight: float) -> None:
        self.weight = weight
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        state, how = load_weights(init)
        fit_weights(self.model, state, source=f"`{init}` ({how})")

    def loss(self, images: Tensor, raws: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum over tasks of mean (y - t)^2 / var(t)."""
        own = next(self.model.parameters())
        if own.device != images.device:
            self.model.to(images.device)
        with torch.no_grad():
            wanted = self.model(images.to(own.dtype))
        terms = []
        for name, raw in raws.items():
            target = wanted[name].to(raw.dtype)
            variance = target.var().clamp_min(SMALLEST)
            terms.append((raw - target).square().mean() / variance)
        return self.weight * torch.stack(terms).sum()


def make_teacher(recipe: Recipe, model: nn.Module) -> Teacher | None:
    """Return the teacher a recipe asks for, or None.

    Raises:
        RecipeError: ``train.distill`` without ``train.init``, or with factors trained in every step
            by the loss of one task.
        WeightsError: The file does not fit the network.
    """
    weight, init = recipe.train.distill, recipe.train.init
    if weight == 0:
        return None
    if init is None:
        raise RecipeError(
            f"train.distill (={weight:g}) without train.init: there is nothing to stay close to",
            hint="--init FILE, the dense checkpoint",
        )
    if recipe.overparam is not None and recipe.overparam.iterative == "minibatch":
        raise RecipeError(
            f"train.distill (={weight:g}) with overparam.iterative 'minibatch': this loss belongs "
            "to no single task",
            hint='set overparam.iterative to "subset" or "none"',
        )
    return Teacher(model, init, weight)
