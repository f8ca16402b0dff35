"""What methods share that put several branches, each with batch norm, in the place of one conv.

Batch norm between is not linear in training, so such a method replaces modules: the convolution by
the branches, and the batch norm behind it by nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Self, cast

import torch
from torch import Tensor, fx, nn

from compactmtl.errors import UsageError, VerificationError

TOLERANCE = 1e-10
"""Largest difference of branches and folded layer in float64, relative to the largest output."""


class BranchedConv(nn.Module, ABC):
    """Branches in the place of a convolution and the batch norm behind it.

    A subclass is one method.
    """

    method: ClassVar[str]
    """The word ``expand`` and a recipe use."""
    norm_path: str
    """Where the batch norm stood, from the module that holds the convolution."""

    @classmethod
    @abstractmethod
    def why_not(cls, conv: nn.Conv2d) -> str | None:
        """Return why this method leaves a convolution as it is, or None if it can expand it."""

    @classmethod
    @abstractmethod
    def fitted(cls, conv: nn.Conv2d, norm: nn.BatchNorm2d, *, init: str) -> Self:
        """Build the branches from a convolution and its batch norm.

        Raises:
            UsageError: ``init`` is unknown.
        """

    @abstractmethod
    def folded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return kernel and bias that compute in ``dtype`` what the branches do in eval mode."""

    @abstractmethod
    def plain(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """Return new layers of the kind that were there before, their values not set."""

    def contracted(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """Return a convolution and a batch norm that do in eval mode what the branches do.

        The batch norm passes its input through but for the bias.

        Raises:
            UsageError: The branches are in train mode, where batch norm depends on the batch.
            VerificationError: They compute something else.
        """
        if any(module.training for module in self.modules()):
            raise UsageError(
                f"{self.method} branches cannot be folded in train mode: batch norm's statistics "
                "are those of the batch there",
                hint="call model.eval() first",
            )
        conv, norm = self.plain()
        kernel, bias = self.folded(torch.float64)
        with torch.no_grad():
            conv.weight.copy_(kernel)
            if conv.bias is not None:
                conv.bias.zero_()
            norm.weight.fill_((1 + norm.eps) ** 0.5)
            norm.bias.copy_(bias)
        self._verify(kernel, bias, conv)
        return conv, norm.eval()

    @torch.no_grad()
    def _verify(self, kernel: Tensor, bias: Tensor, conv: nn.Conv2d) -> None:
        height, width = (
            d * (k - 1) + 3 for d, k in zip(conv.dilation, conv.kernel_size, strict=True)
        )
        generator = torch.Generator().manual_seed(0)  # the caller's random numbers stay as they are
        shape = (2, conv.in_channels, height, width)
        image = torch.randn(shape, generator=generator).to(kernel)
        own = {name: t.to(kernel.dtype) for name, t in self.state_dict().items()}
        expected = torch.func.functional_call(self, own, (image,))
        padding = cast(tuple[int, int], conv.padding)
        got = torch.nn.functional.conv2d(
            image, kernel, bias, conv.stride, padding, conv.dilation, conv.groups
        )
        error = float((got - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
        if not error <= TOLERANCE:
            raise VerificationError(
                f"{self.method}: the folded layer differs from its branches by {error:.1e} "
                f"(relative, at most {TOLERANCE:.0e})"
            )


def branched_layers(model: nn.Module) -> Iterator[tuple[str, BranchedConv]]:
    """Yield name and module of every layer that has branches."""
    for name, module in model.named_modules():
        if isinstance(module, BranchedConv):
            yield name, module


def find_norm(model: nn.Module, name: str) -> tuple[str, nn.BatchNorm2d] | str:
    """Find the batch norm that alone reads a convolution.

    Args:
        model: The network.
        name: The convolution's name in it.

    Returns:
        The path from the module that holds the convolution, and the norm; or the reason.
    """
    parent_name, _, own = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    try:
        graph = fx.symbolic_trace(parent).graph
    except Exception as error:  # noqa: BLE001  (whatever a network's forward does when it is traced)
        return f"`{parent_name}` cannot be traced ({type(error).__name__})"
    calls = [n for n in graph.nodes if n.op == "call_module" and n.target == own]
    users = [user for call in calls for user in call.users]
    if len(calls) != 1 or len(users) != 1 or users[0].op != "call_module":
        return "not read by one batch norm alone"
    path = str(users[0].target)
    norm = parent.get_submodule(path)
    if not isinstance(norm, nn.BatchNorm2d) or not norm.affine or not norm.track_running_stats:
        return f"read by {type(norm).__name__}, not by a batch norm with weights and statistics"
    for module in (parent.get_submodule(own), norm):
        places = [n for n, m in model.named_modules(remove_duplicate=False) if m is module]
        if len(places) > 1:
            return f"shared: {', '.join(places)}"
    return path, norm


def insert(model: nn.Module, name: str, branched: BranchedConv) -> None:
    """Put branches where the convolution ``name`` stands, and nothing where its norm does."""
    parent = model.get_submodule(name.rpartition(".")[0])
    model.set_submodule(name, branched)
    parent.set_submodule(branched.norm_path, nn.Identity())


def remove(model: nn.Module, name: str, branched: BranchedConv) -> None:
    """Put the folded convolution and a batch norm back."""
    conv, norm = branched.contracted()
    parent = model.get_submodule(name.rpartition(".")[0])
    model.set_submodule(name, conv.train(branched.training))
    parent.set_submodule(branched.norm_path, norm)
