"""Gradients of single tasks made one by TorchJD, instead of losses made one by weights.

Source: TorchJD (torchjd.org) and, for each aggregator, the paper its documentation names: Yu et al.
(2020) for PCGrad, Desideri (2012) for MGDA, Liu et al. (2021) for CAGrad, Quinton & Rey (2024) for
UPGrad.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from compactmtl.errors import MissingExtraError, PartError, RecipeError
from compactmtl.multitask.arguments import checked_arguments
from compactmtl.multitask.weightings.base import Weighting
from compactmtl.parts import nearest


class GradientSurgery(Weighting):
    """Aggregates the tasks' gradients of what several tasks reach; the rest gets their sum.

    One backward pass per task. The scale is the aggregator's own: UPGrad's and MGDA's is that of a
    mean, PCGrad's that of a sum.

    Args:
        factors: As for ``Weighting``; each multiplies its task's gradient first.
        aggregator: The name of a class in ``torchjd.aggregation``.
        options: Its arguments, such as ``{"c": 0.5}`` for CAGrad; lists become tensors.

    Raises:
        MissingExtraError: TorchJD is not installed, or what this aggregator needs beside it.
        PartError: It has no such aggregator.
        RecipeError: The aggregator does not take these options, or keeps a state between steps.
    """

    name: ClassVar[str] = "torchjd"
    logged: ClassVar[bool] = False

    def __init__(
        self,
        factors: Mapping[str, float],
        aggregator: str = "UPGrad",
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(factors)
        self.aggregator = _build(aggregator, options or {})

    def aggregate(self, rows: Tensor) -> Tensor:
        """Return one gradient (n,) for those of the tasks (T, n)."""
        made: Tensor = self.aggregator(rows * self.get_buffer("factors").to(rows)[:, None])
        return made

    def combine(self, losses: Tensor) -> Tensor:
        """Return the sum, whose gradient trains what one task alone reaches."""
        return losses.sum()

    def present(self) -> Tensor:
        """Return NaN: a task's share is known only once the gradients are."""
        return torch.full_like(self.get_buffer("factors"), torch.nan)


def _build(name: str, options: Mapping[str, Any]) -> nn.Module:
    what = f"weighting `torchjd`, aggregator `{name}`"
    try:
        import torchjd
        from torchjd import aggregation
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "weighting `torchjd` needs a package that is not installed: torchjd",
            hint='pip install "compactmtl[torchjd]"',
        ) from error
    known = _concrete(aggregation)
    if name not in known:
        raise PartError(
            f"torchjd has no aggregator called `{name}`{nearest(name, known)}",
            hint=f"there are: {', '.join(known)}",
        )
    given = checked_arguments(known[name], options, what=what, positional=0)
    given = {k: torch.tensor(v) if isinstance(v, list) else v for k, v in given.items()}
    try:
        made = known[name](**given)
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs packages that are not installed: {' '.join(str(error).split())}",
            hint='pip install "torchjd[full]"',
        ) from error
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{what}: {' '.join(str(error).split())}") from error
    if isinstance(made, torchjd.Stateful):
        raise RecipeError(
            f"{what} keeps a state between steps, which a checkpoint does not hold",
            hint="UPGrad, MGDA, PCGrad, CAGrad, IMTLG, ConFIG and AlignedMTL keep none",
        )
    return made


def _concrete(aggregation: Any) -> dict[str, Callable[..., nn.Module]]:
    found = {name: getattr(aggregation, name) for name in aggregation.__all__}
    return {
        name: kind
        for name, kind in found.items()
        if issubclass(kind, aggregation.Aggregator)
        and not inspect.isabstract(kind)
        and "WeightedAggregator" not in name
    }
