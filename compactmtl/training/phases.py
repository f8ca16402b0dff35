"""Which phase of the recipe an epoch belongs to."""

from typing import Literal

from compactmtl.errors import RecipeError
from compactmtl.recipe import Recipe, SparsitySection

Phase = Literal["overparam", "dense", "sparse", "debias"]


def epoch_at(share: float, epochs: int) -> int:
    """Return the epoch (from 0) at which a share of all epochs has passed, halves upwards."""
    return int(share * epochs + 0.5)


def phases(recipe: Recipe) -> list[Phase]:
    """Return the phase of each epoch.

    "overparam" until ``overparam.until``; "sparse" from ``sparsity.start`` to ``sparsity.stop``;
    "debias", with the zeros frozen, after it; "dense" where neither applies.

    Raises:
        RecipeError: A phase the recipe asks for would get no epoch.
    """
    epochs = recipe.train.epochs
    result: list[Phase] = ["dense"] * epochs
    if recipe.overparam is not None:
        until = epoch_at(recipe.overparam.until, epochs)
        _needs_epochs("overparam", 0, until, epochs)
        result[:until] = ["overparam"] * until
    if recipe.sparsity is not None:
        start = epoch_at(recipe.sparsity.start, epochs)
        stop = epoch_at(recipe.sparsity.stop, epochs)
        _needs_epochs("sparsity", start, stop, epochs)
        result[start:stop] = ["sparse"] * (stop - start)
        result[stop:] = ["debias"] * (epochs - stop)
    return result


def milestones(plan: list[Phase], epoch: int) -> list[str]:
    """Return the milestones that the end of an epoch (from 0) is: before_sparse, final."""
    found = []
    if plan[epoch] != "sparse" and plan[epoch + 1 : epoch + 2] == ["sparse"]:
        found.append("before_sparse")
    if epoch == len(plan) - 1:
        found.append("final")
    return found


def whole_epochs(section: SparsitySection, epochs: int) -> SparsitySection:
    """Return the section with start and stop moved to where an epoch really begins."""
    start, stop = (epoch_at(share, epochs) / epochs for share in (section.start, section.stop))
    return section.model_copy(update={"start": start, "stop": stop})


def _needs_epochs(name: str, start: int, stop: int, epochs: int) -> None:
    if stop <= start:
        raise RecipeError(
            f"`{name}` gets no epoch: of {epochs} epochs it would run from {start} to {stop}",
            hint="raise train.epochs, or move the phase's fractions apart",
        )
