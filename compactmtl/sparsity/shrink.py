"""One proximal step for many kernels at once: those of equal group size are one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from compactmtl.sparsity.channel_groups import ChannelGroups
from compactmtl.sparsity.prox import group_prox, group_pull, l1_prox


@dataclass(frozen=True)
class Stepped:
    """A kernel that the optimiser has just moved.

    Attributes:
        group: Its groups.
        metric: Adam's metric: (num_groups, n), or (num_groups, 1) if the kernel is factored.
        step: lr * lam, at least 0.
        l1_share: Part of it that goes to the l1 norm.
    """

    group: ChannelGroups
    metric: Tensor
    step: float
    l1_share: float


@torch.no_grad()
def shrink(stepped: Sequence[Stepped], limit: int | None) -> None:
    """Apply the proximal operator to each kernel, in place; nothing waits for the device.

    Args:
        stepped: The kernels.
        limit: No more groups than this may be zero afterwards; None: any number. Those with the
            smallest ||d x|| / mu go first, and what would be too many is spared this time.
    """
    batches = [_Batch(kernels) for kernels in _alike(stepped)]
    spared = [None] * len(batches) if limit is None else _spared(batches, limit)
    for batch, keep in zip(batches, spared, strict=True):
        batch.write(keep)


def _alike(stepped: Sequence[Stepped]) -> list[list[Stepped]]:
    """Put kernels together whose groups are of one size, and which have one threshold."""
    found: dict[tuple[Any, ...], list[Stepped]] = {}
    for kernel in stepped:
        group, size = kernel.group, kernel.group.parameter.numel() // kernel.group.num_groups
        key = (size, group.scale, kernel.step, group.parameter.device, group.parameter.dtype)
        alone = id(group) if group.factors is not None else None
        found.setdefault((*key, alone), []).append(kernel)
    return list(found.values())


class _Batch:
    """Kernels whose groups are rows of one matrix."""

    def __init__(self, kernels: Sequence[Stepped]) -> None:
        self.kernels = kernels
        first = kernels[0]
        self.group = first.group
        self.mu = first.step * (1 - first.l1_share) * first.group.scale
        self.metric = _joined([kernel.metric for kernel in kernels])
        self.before = _joined([k.group.rows(k.group.parameter) for k in kernels])
        self.rows = self.before
        if first.l1_share > 0:
            self.rows = l1_prox(self.before, self.metric, first.step * first.l1_share)

    def scores(self) -> Tensor:
        """Return ||d x|| / mu per group, (num_groups, 1): at most 1 is zeroed."""
        if self.group.factors is None:
            return group_pull(self.rows, self.metric) / self.mu
        return self.metric * self.group.norms().unsqueeze(1) / self.mu

    def write(self, spared: Tensor | None) -> None:
        """Shrink the rows but those that are spared, (num_groups, 1), and write them back."""
        if self.group.factors is None:
            after = group_prox(self.rows, self.metric, self.mu)
        else:
            after = self.rows * (1 - 1 / self.scores()).clamp_min(0.0).to(self.rows.dtype)
        if spared is not None:
            after = torch.where(spared, self.before, after)
        parts = torch.split(after, [kernel.group.num_groups for kernel in self.kernels])
        for kernel, part in zip(self.kernels, parts, strict=True):
            kernel.group.write(part)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _spared(batches: Sequence[_Batch], limit: int) -> list[Tensor | None]:
    """Return per batch the groups that the limit saves, (num_groups, 1)."""
    scores = [batch.scores() for batch in batches]
    device = scores[0].device if scores else None
    every = torch.cat([score.flatten().to(device) for score in scores]) if scores else None
    if every is None or limit >= every.numel():
        return [None] * len(batches)
    # Fewer than or just ``limit`` scores are smaller than the next one in order.
    least = every.kthvalue(limit + 1).values
    # A score that rounding lifted above 1 may be zeroed all the same.
    return [(score <= 1 + 1e-6) & (score >= least.to(score.device)) for score in scores]


def settings_of(param_groups: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the settings of each parameter by its id."""
    return {id(p): cast(dict[str, Any], each) for each in param_groups for p in each["params"]}
