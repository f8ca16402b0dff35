"""Which phase of the recipe an epoch belongs to."""

from typing import Literal

from compactmtl.errors import RecipeError
from compactmtl.recipe import Recipe, SparsitySection

Phase = Literal["overparam", "dense", "sparse", "debias", "overparam-sparse", "overparam-debias"]
_TOGETHER: dict[Phase, Phase] = {"sparse": "overparam-sparse", "debias": "overparam-debias"}


def is_overparam(phase: Phase | None) -> bool:
    """Tell whether layers are expanded in a phase."""
    return phase is not None and phase.startswith("overparam")


def is_sparse(phase: Phase | None) -> bool:
    """Tell whether the penalty acts in a phase."""
    return phase in ("sparse", "overparam-sparse")


def after_stop(phase: Phase) -> Phase:
    """Return what a phase is once the penalty has stopped before its time."""
    return {"sparse": "debias", "overparam-sparse": "overparam-debias"}.get(phase, phase)  # type: ignore[return-value]


def epoch_at(share: float, epochs: int) -> int:
    """Return the epoch (from 0) at which a share of all epochs has passed, halves upwards."""
    return int(share * epochs + 0.5)


def phases(recipe: Recipe) -> list[Phase]:
    """Return the phase of each epoch.

    "overparam" until ``overparam.until``; "sparse" from ``sparsity.start`` to ``sparsity.stop``;
    "debias", with the zeros frozen, after it (with schedule "once" from the start); "dense" where
    neither applies, "overparam-sparse" and "overparam-debias" where both do.

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
        if recipe.sparsity.schedule == "once":
            stop = start
            _needs_epochs("sparsity", start, epochs, epochs)
        else:
            _needs_epochs("sparsity", start, stop, epochs)
        for epoch in range(start, epochs):
            phase: Phase = "sparse" if epoch < stop else "debias"
            result[epoch] = _TOGETHER[phase] if result[epoch] == "overparam" else phase
    return result


def milestones(plan: list[Phase], epoch: int) -> list[str]:
    """Return the milestones that the end of an epoch (from 0) is.

    before_sparse, before_debias (unless the penalty stopped before its time), final.
    """
    found = []
    for here, following in zip(plan[epoch : epoch + 1], plan[epoch + 1 : epoch + 2], strict=False):
        if is_sparse(following) and not is_sparse(here):
            found.append("before_sparse")
        if is_sparse(here) and not is_sparse(following):
            found.append("before_debias")
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
