"""What a recipe's settings mean together, known before anything is loaded or built."""

from compactmtl.errors import RecipeError
from compactmtl.multitask.weightings import Weighting, make_weighting
from compactmtl.multitask.weightings.surgery import GradientSurgery
from compactmtl.overparam import KernelFactors, find_method
from compactmtl.recipe import OverparamSection, Recipe

FROBENIUS = 1e-4
"""Decay of the contracted kernels: the paper's."""


def check_settings(recipe: Recipe, num_processes: int = 1) -> list[str]:
    """Refuse what contradicts itself; return a sentence for each setting that has no effect.

    Recipes that differ in the method alone may keep the settings of the others, so these are said
    and not refused.

    Raises:
        RecipeError: A contradiction.
        PartError: There is no such weighting or method.
        MissingExtraError: A package that one of them needs is not installed.
    """
    factors = {name: task.weight for name, task in recipe.tasks.items()}
    weighting = make_weighting(recipe.weighting.name, factors, recipe.weighting.args)
    section = recipe.overparam
    mode = iterative_mode(section)
    check_processes(recipe, weighting, num_processes)
    _check_passes(recipe, mode, is_surgery=isinstance(weighting, GradientSurgery))
    if section is None:
        return []
    of_tasks = f"method `{section.method}` has no factors that single tasks train"
    if _trains_by_task(section):
        of_tasks = f"overparam.iterative is `{mode}`"
    no_effect = {
        "subset": of_tasks if mode != "subset" else None,
        "m_lr": None if _trains_by_task(section) else of_tasks,
        "frobenius": None
        if issubclass(find_method(section.method), KernelFactors)
        else f"method `{section.method}` has no kernels made of factors",
    }
    return [
        f"overparam.{name} has no effect: {why}"
        for name, why in no_effect.items()
        if why is not None and getattr(section, name) is not None
    ]


def check_processes(recipe: Recipe, weighting: Weighting, num_processes: int) -> None:
    """Refuse what needs the whole batch at once where it is worked on in parts.

    Raises:
        RecipeError: It does.
    """
    accumulate = recipe.train.accumulate or 1
    if accumulate == 1 and num_processes == 1:
        return
    parts = f"train.accumulate (={accumulate})" if accumulate > 1 else f"{num_processes} processes"
    if isinstance(weighting, GradientSurgery):
        raise RecipeError(
            f"weighting `torchjd` does not go with {parts}: it compares the gradients of a whole "
            "batch",
            hint="take another weighting, or one process and no accumulation",
        )
    if accumulate > 1 and not weighting.slopes_are_given:
        raise RecipeError(
            f"weighting `{recipe.weighting.name}` does not go with {parts}: it needs the losses of "
            "a whole batch",
            hint="take another weighting, or a smaller data.batch_size",
        )
    if accumulate > 1 and iterative_mode(recipe.overparam) == "minibatch":
        raise RecipeError(
            f'overparam.iterative = "minibatch" does not go with {parts}: it trains each task by '
            "the loss of a whole batch",
            hint='set overparam.iterative to "subset" or "none"',
        )


def _check_passes(recipe: Recipe, mode: str, *, is_surgery: bool) -> None:
    """Refuse what cannot go with a backward pass per task."""
    by_task = 'overparam.iterative = "minibatch"' if mode == "minibatch" else ""
    surgery = "weighting `torchjd`" if is_surgery else ""
    if surgery and by_task:
        raise RecipeError(
            f"{surgery} does not go with {by_task}: both divide the gradients of single tasks",
            hint='set overparam.iterative to "subset" or "none"',
        )
    if recipe.train.compile and (surgery or by_task):
        raise RecipeError(
            f"train.compile does not go with {surgery or by_task}, which runs backward once per "
            "task: compiled code frees after the first what the others need",
            hint="set train.compile to false",
        )
    if surgery and recipe.train.distill > 0:
        raise RecipeError(
            f"{surgery} does not go with train.distill (={recipe.train.distill:g}): this loss "
            "belongs to no task",
            hint="take another weighting, or leave train.distill out",
        )
    if surgery and recipe.train.precision == "16-mixed":
        raise RecipeError(
            f"{surgery} does not go with train.precision 16-mixed: a scaled gradient that "
            "overflows cannot be aggregated",
            hint="bf16-mixed needs no scaling",
        )


def iterative_mode(section: OverparamSection | None) -> str:
    """Return how factors of single tasks are trained: subset, minibatch or none.

    Raises:
        RecipeError: The recipe asks for one, and its method has no such factors.
        PartError: There is no such method.
    """
    if section is None:
        return "none"
    by_task = _trains_by_task(section)
    mode = section.iterative or ("subset" if by_task else "none")
    if mode != "none" and not by_task:
        raise RecipeError(
            f"overparam.iterative is `{mode}`, and method `{section.method}` has no factors that "
            "single tasks train",
            hint='leave it out, or set it to "none"',
        )
    return mode


def frobenius_of(section: OverparamSection) -> float:
    """Return the coefficient of the Frobenius decay."""
    return FROBENIUS if section.frobenius is None else section.frobenius


def _trains_by_task(section: OverparamSection) -> bool:
    method = find_method(section.method)
    return issubclass(method, KernelFactors) and method.trains_by_task
