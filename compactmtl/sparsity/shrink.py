"""One proximal step for many kernels.

On a GPU kernels whose groups are of one size are one batch, so that few operations are launched.
On a CPU a batch is a part of one kernel that fits into the cache.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compactmtl.sparsity.channel_groups import ALL, ChannelGroups
from compactmtl.sparsity.prox import BLOCK, group_prox, group_pull, l1_prox

ZEROED = 1 + 1e-6
"""Scores up to it: one that rounding lifted above 1 may be zeroed all the same."""


@dataclass(frozen=True)
class Stepped:
    """A kernel that the optimiser has just moved.

    Attributes:
        group: Its groups.
        metric: Returns Adam's metric of a part of it: a row per group, with an entry per entry of
            the group, or one if the kernel is factored.
        step: lr * lam, greater than 0.
        l1_share: Part of it that goes to the l1 norm.
    """

    group: ChannelGroups
    metric: Callable[[slice], Tensor]
    step: float
    l1_share: float = 0.0


@torch.no_grad()
def shrink(stepped: Sequence[Stepped], limit: int | None) -> None:
    """Apply the proximal operator to each kernel, in place; nothing waits for the device.

    Args:
        stepped: The kernels.
        limit: No more groups than this may be zero afterwards, and never all of a kernel's; None:
            any number. Those with the smallest ||d x|| / mu go first, and what would be too many
            is spared this time.
    """
    if limit is None:
        for chosen in _choose(stepped):
            _Batch(*chosen, scored=False).write()
        return
    batches = [_Batch(*chosen, scored=True) for chosen in _choose(stepped)]
    best = _best(batches)
    for batch, spared in zip(batches, _spared(batches, best, limit), strict=True):
        batch.restore(spared)
        batch.write()


def _choose(stepped: Sequence[Stepped]) -> Iterator[tuple[list[Stepped], slice]]:
    """Yield kernels that are one batch, and which part of them."""
    together: dict[tuple[Any, ...], list[Stepped]] = {}
    for kernel in stepped:
        group, parameter = kernel.group, kernel.group.parameter
        if group.factors is not None:
            yield [kernel], ALL
        elif _has_cache(parameter):
            num = max(1, BLOCK * group.axis_size // parameter.numel())
            for start in range(0, group.axis_size, num):
                yield [kernel], slice(start, start + num)
        else:
            size = parameter.numel() // group.num_groups
            key = (size, group.scale, kernel.step, parameter.device, parameter.dtype)
            together.setdefault(key, []).append(kernel)
    for kernels in together.values():
        yield kernels, ALL


def _has_cache(parameter: Tensor) -> bool:
    return parameter.device.type == "cpu"


class _Batch:
    """The rows of one matrix, part of a kernel or several kernels: before and after the operator.

    Attributes:
        scores: ||d x|| / mu per group, (num_groups, 1): at most 1 is zeroed. None: not asked for.
    """

    def __init__(self, kernels: Sequence[Stepped], part: slice, *, scored: bool) -> None:
        first = kernels[0]
        group, self.kernels, self.part = first.group, kernels, part
        mu = first.step * (1 - first.l1_share) * group.scale
        metric = _joined([kernel.metric(part) for kernel in kernels])
        self.before = _joined([k.group.rows(k.group.parameter, part) for k in kernels])
        self.scores: Tensor | None = None
        if group.factors is not None:
            self.scores = metric * group.norms().unsqueeze(1) / mu
            self.after = self.before * (1 - 1 / self.scores).clamp_min(0.0).to(self.before.dtype)
            return
        rows = self.before
        if first.l1_share > 0:
            rows = l1_prox(rows, metric, first.step * first.l1_share)
        if scored:
            self.scores = group_pull(rows, metric) / mu
        self.after = group_prox(rows, metric, mu)

    def scores_by_kernel(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the scores of each kernel's rows, with the name of its layer."""
        assert self.scores is not None
        rows = [len(self.scores)]
        if len(self.kernels) > 1:
            rows = [kernel.group.num_groups for kernel in self.kernels]
        for kernel, scores in zip(self.kernels, torch.split(self.scores, rows), strict=True):
            yield kernel.group.name, scores

    def is_best(self, best: Mapping[str, Tensor]) -> Tensor:
        """Tell which groups are the best of their kernel, (num_groups, 1)."""
        return _joined([scores >= best[name] for name, scores in self.scores_by_kernel()])

    def restore(self, spared: Tensor) -> None:
        """Undo the operator where it is spared, (num_groups, 1)."""
        keep = spared.to(
            self.after.dtype
        )  # as numbers: a broadcast `where` takes five times longer
        self.after = self.after.mul_(1 - keep).addcmul_(self.before, keep)

    def write(self) -> None:
        """Write the rows back into the kernels."""
        if len(self.kernels) == 1:
            self.kernels[0].group.write(self.after, self.part)
            return
        parts = torch.split(self.after, [kernel.group.num_groups for kernel in self.kernels])
        for kernel, part in zip(self.kernels, parts, strict=True):
            kernel.group.write(part)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _best(batches: Sequence[_Batch]) -> dict[str, Tensor]:
    """Return the largest score of each kernel, of all its parts, by the name of its layer."""
    best: dict[str, Tensor] = {}
    for batch in batches:
        for name, scores in batch.scores_by_kernel():
            largest = scores.max()
            best[name] = torch.maximum(best[name], largest) if name in best else largest
    return best


def _spared(batches: Sequence[_Batch], best: Mapping[str, Tensor], limit: int) -> Iterator[Tensor]:
    """Yield per batch which groups are saved, (num_groups, 1).

    The best of each kernel are; of the others as many may go as the limit says.
    """
    scores = [batch.scores for batch in batches if batch.scores is not None]
    is_best = [batch.is_best(best) for batch in batches]
    others = [
        score.masked_fill(mask, torch.inf) for score, mask in zip(scores, is_best, strict=True)
    ]
    if limit >= sum(score.numel() for score in scores):
        yield from (mask & (score <= ZEROED) for score, mask in zip(scores, is_best, strict=True))
        return
    every = torch.cat([score.flatten().to(scores[0].device) for score in others])
    least = every.kthvalue(limit + 1).values  # at most ``limit`` scores are below it
    for score, mask in zip(scores, is_best, strict=True):
        yield (score <= ZEROED) & (mask | (score >= least.to(score.device)))
