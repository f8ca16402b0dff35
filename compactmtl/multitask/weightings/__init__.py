"""How the losses of several tasks become one; one method per file."""

from collections.abc import Mapping
from typing import Any

from compactmtl.errors import PartError
from compactmtl.multitask.arguments import checked_arguments
from compactmtl.multitask.weightings.base import Weighting
from compactmtl.multitask.weightings.dwa import DynamicWeightAverage
from compactmtl.multitask.weightings.fixed import Fixed
from compactmtl.multitask.weightings.frozen import FrozenUncertainty
from compactmtl.multitask.weightings.gls import GeometricMean
from compactmtl.multitask.weightings.rlw import RandomWeights
from compactmtl.multitask.weightings.surgery import GradientSurgery
from compactmtl.multitask.weightings.uncertainty import Uncertainty
from compactmtl.parts import call_part, find_part

__all__ = ["WEIGHTINGS", "Weighting", "make_weighting"]

WEIGHTINGS: dict[str, type[Weighting]] = {
    method.name: method
    for method in (
        Fixed,
        Uncertainty,
        FrozenUncertainty,
        DynamicWeightAverage,
        RandomWeights,
        GeometricMean,
        GradientSurgery,
    )
}
"""The methods by the word a recipe uses."""


def make_weighting(name: str, factors: Mapping[str, float], args: Mapping[str, Any]) -> Weighting:
    """Build a weighting: a word of ``WEIGHTINGS``, or ``package.module:Class``.

    Args:
        name: The method.
        factors: The recipe's factor per task, in the order of the tasks.
        args: What else the method takes.

    Raises:
        PartError: No such method, or the user's own is no ``Weighting``.
        RecipeError: The method does not take these arguments.
    """
    factory = find_part(name, WEIGHTINGS, "weighting")
    checked = checked_arguments(factory, args, what=f"weighting `{name}`")
    made = call_part(name, factory, factors, **checked)
    if not isinstance(made, Weighting):
        raise PartError(
            f"weighting `{name}` is a {type(made).__name__}, expected a Weighting",
            hint="derive it from compactmtl.multitask.weightings.Weighting",
        )
    return made
