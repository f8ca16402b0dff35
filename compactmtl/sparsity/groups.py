"""Channel groups: the slices of a kernel that read one input channel."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compactmtl.errors import UsageError
from compactmtl.patterns import declared_patterns, matching_layers

LAYER_TYPES = (nn.Conv2d, nn.Linear)
"""Layers whose kernel has channel groups."""

Patterns = str | Sequence[str] | None


@dataclass(frozen=True, eq=False)
class ChannelGroups:
    """The groups W[:, c] of one kernel W: (O, I, y, x) or (O, I).

    Attributes:
        name: Dotted name of the layer.
        parameter: Its kernel.
        dim: The axis that counts groups.
        num_groups: I.
        scale: sqrt(n_g) with n_g = O*y*x the size of one group: its weight in the penalty.
    """

    name: str
    parameter: nn.Parameter
    dim: int
    num_groups: int
    scale: float

    def rows(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the kernel's shape as (num_groups, n_g), one group per row."""
        return tensor.movedim(self.dim, 0).flatten(1)

    def unrows(self, rows: Tensor) -> Tensor:
        """Undo ``rows``, as a view."""
        shape = list(self.parameter.shape)
        shape.insert(0, shape.pop(self.dim))
        return rows.reshape(shape).movedim(0, self.dim)


def groups(
    model: nn.Module, *, layers: Patterns = None, reads: Patterns = None, keep: Patterns = ()
) -> list[ChannelGroups]:
    """Return the channel groups to be penalised, one entry per kernel.

    Without the heads' reads of the encoder output hardly a channel of it can be removed, because
    each must be zero for all of its readers.

    Args:
        model: The network; contract an expanded one first.
        layers: Patterns of the encoder's layers; None takes ``model.encoder_layers``.
        reads: Patterns of the head layers that read the encoder; None takes ``model.head_reads``.
        keep: Patterns of layers that are left out.

    Raises:
        PatternError: A pattern matches no layer.
        UsageError: A layer is expanded, or no layer is left.

    Source: Upadhyay et al., arXiv 2308.12114, equation (6); the groups are input channels.
    """
    found = [
        ChannelGroups(
            name=name,
            parameter=weight,
            dim=1,
            num_groups=weight.shape[1],
            scale=math.sqrt(weight.numel() / weight.shape[1]),
        )
        for name, weight, skipped in _candidates(model, layers, reads, keep)
        if not skipped
    ]
    if not found:
        raise UsageError(
            f"no layer of {type(model).__name__} has channel groups with these patterns",
            hint="skipped_layers(model, ...) says why",
        )
    return found


def skipped_layers(
    model: nn.Module, *, layers: Patterns = None, reads: Patterns = None, keep: Patterns = ()
) -> dict[str, str]:
    """Return the layers that ``groups`` matches and leaves out, with the reason.

    Raises:
        PatternError: A pattern matches no layer.
        UsageError: A layer is expanded.
    """
    return {
        name: skipped for name, _, skipped in _candidates(model, layers, reads, keep) if skipped
    }


@torch.no_grad()
def group_norms(groups: Sequence[ChannelGroups]) -> dict[str, Tensor]:
    """Return the Euclidean norm of every group, (num_groups,) per layer."""
    return {group.name: group.rows(group.parameter).norm(dim=1) for group in groups}


@torch.no_grad()
def group_sparsity(groups: Sequence[ChannelGroups]) -> float:
    """Return the share of groups that are exactly zero, 0 to 1. One host synchronisation."""
    zeros = [(group.rows(group.parameter) == 0).all(dim=1).sum() for group in groups]
    return float(torch.stack(zeros).sum()) / sum(group.num_groups for group in groups)


def _candidates(
    model: nn.Module, layers: Patterns, reads: Patterns, keep: Patterns
) -> Iterator[tuple[str, nn.Parameter, str]]:
    """Yield name, kernel and the reason to skip it, or an empty string."""
    wanted = (
        *declared_patterns(model, layers, "encoder_layers", "layers"),
        *declared_patterns(model, reads, "head_reads", "reads"),
    )
    kept = set(matching_layers(model, keep or (), LAYER_TYPES).values())
    owners: dict[int, str] = {}
    for name, layer in matching_layers(model, wanted, LAYER_TYPES).items():
        if parametrize.is_parametrized(layer, "weight"):
            raise UsageError(
                f"`{name}` has a parametrised weight, expected a plain one",
                hint="contract(model) before the sparse phase",
            )
        weight = layer.get_parameter("weight")
        if layer in kept:
            reason = "kept"
        elif getattr(layer, "groups", 1) != 1:
            reason = f"grouped convolution (groups={layer.groups})"
        elif id(weight) in owners:
            reason = f"shares its weight with `{owners[id(weight)]}`"
        else:
            owners[id(weight)] = name
            reason = ""
        yield name, weight, reason
