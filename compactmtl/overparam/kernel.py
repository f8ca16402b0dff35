"""What every weight-only method shares: a kernel made of factors, on the user's own layer.

The factors live in a ``torch.nn.utils.parametrize`` parametrisation, so the module tree stays as
it was. They are its own parameters and not parametrize's ``originals``: the keys in a state dict
then read ``conv.parametrizations.weight.0.U`` and not ``...original0``.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compactmtl.errors import UsageError

LAYER_TYPES = (nn.Conv2d, nn.Linear)
"""Layers whose kernel can be expanded."""


class KernelFactors(nn.Module, ABC):
    """The factors of one layer's kernel: a parametrisation of ``layer.weight``.

    A subclass is one method. It sets ``method``, registers its factors in ``__init__`` and
    computes the kernel from them in ``product``. Everything else (one contraction per step, the
    pull-back of its gradient, contraction for good) is the same for all methods.

    Args:
        weight: The kernel to be replaced, for its shape, dtype, device and ``requires_grad``.
        tasks: Names of the tasks.
    """

    method: ClassVar[str]
    """The word ``expand`` and a recipe use."""
    trains_by_task: ClassVar[bool] = False
    """Whether some factors are trained by the loss of one task alone."""

    def __init__(self, weight: Tensor, tasks: Sequence[str]) -> None:
        super().__init__()
        self.kernel_shape = tuple(weight.shape)
        self.tasks = tuple(tasks)
        self.leaf: Tensor | None = None
        """The kernel, detached, while a training_step or task_step is open."""
        self.attaching = False

    @classmethod
    def why_not(cls, layer: nn.Module, tasks: Sequence[str]) -> str | None:
        """Return why this method leaves a layer dense, or None if it can expand it.

        Grouped convolutions are left dense; a method that takes or leaves others says so itself.
        """
        groups = getattr(layer, "groups", 1)
        return None if groups == 1 else f"grouped convolution (groups={groups})"

    @classmethod
    @abstractmethod
    def fitted(
        cls, weight: Tensor, tasks: Sequence[str], *, ratio: float | None, init: str
    ) -> Self:
        """Build the factors of a kernel; ``ratio`` says how large, None: the method's own.

        Raises:
            UsageError: A setting is out of range.
        """

    @classmethod
    @abstractmethod
    def unfilled(cls, weight: Tensor, tasks: Sequence[str], settings: Mapping[str, Any]) -> Self:
        """Build factors of the right shapes that are NaN until a state dict is loaded."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what ``unfilled`` needs, as JSON."""

    @abstractmethod
    def factor(self, weight: Tensor) -> None:
        """Overwrite the factors so that their product is this kernel; task factors start anew."""

    @abstractmethod
    def product(self, dtype: torch.dtype) -> Tensor:
        """Multiply the factors, in ``dtype``, to a contiguous kernel, with a graph."""

    @abstractmethod
    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the factors that all tasks train."""

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the factors that one task trains."""
        return []

    def reach(self, task: str) -> Tensor | None:
        """Return how far a task's factors are from where they started; None: it is not known."""
        return None

    def kernel(self) -> Tensor:
        """Contract in the factors' precision, at least float32, also under autocast.

        A kernel rounded to bfloat16 would make training and contraction disagree.
        """
        own = self.shared_parameters()[0]
        with torch.autocast(own.device.type, enabled=False):
            wide = torch.promote_types(own.dtype, torch.float32)
            return self.product(wide).to(own.dtype)

    def forward(self) -> Tensor:
        """Return the kernel: contracted now, or the leaf of the surrounding step."""
        return self.kernel() if self.leaf is None else self.leaf

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """Take an assignment ``layer.weight = tensor``; parametrize itself stores nothing."""
        if self.leaf is not None:
            raise UsageError(
                "a kernel was assigned inside training_step or task_step",
                hint="assign `layer.weight` outside of the block",
            )
        if not self.attaching:
            self.factor(weight)
        return ()

    @torch.no_grad()
    def contracted(self) -> Tensor:
        """Return the kernel computed in float64 and rounded once to the factors' dtype."""
        own = self.shared_parameters()[0]
        source = copy.deepcopy(self).cpu() if own.device.type == "mps" else self  # no float64 there
        return source.product(torch.float64).to(device=own.device, dtype=own.dtype)

    def __getstate__(self) -> dict[str, Any]:
        # A copy made inside a step must not keep that step's kernel for ever.
        return {**self.__dict__, "leaf": None}


def attach(layer: nn.Module, factors: KernelFactors) -> None:
    """Replace ``layer.weight`` by the kernel of ``factors``, in place."""
    # parametrize hands the old kernel to right_inverse and contracts once as a check; the factors
    # hold that kernel already, or wait for a state dict.
    factors.attaching = True
    parametrize.register_parametrization(layer, "weight", factors, unsafe=True)
    factors.attaching = False


def factors_of(layer: nn.Module) -> KernelFactors | None:
    """Return the factors of a layer, or None if it is not expanded."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    first = cast(nn.ModuleDict, layer.parametrizations)["weight"][0]  # type: ignore[index]
    return first if isinstance(first, KernelFactors) else None


def expanded_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module, KernelFactors]]:
    """Yield name, layer and factors of every expanded layer, each layer once."""
    for name, layer in model.named_modules():
        factors = factors_of(layer)
        if factors is not None:
            yield name, layer, factors
