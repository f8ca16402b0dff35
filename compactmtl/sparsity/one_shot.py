"""One-shot pruning: the smallest groups of a trained network become zero at once."""

from collections.abc import Sequence

import torch

from compactmtl.errors import UsageError
from compactmtl.sparsity.channel_groups import ChannelGroups


@torch.no_grad()
def prune_smallest(groups: Sequence[ChannelGroups], share: float) -> None:
    """Set the groups of the smallest norms to zero, in place, over all layers together.

    Norms are divided by sqrt(n_g), the group's weight in the penalty, so that layers of other
    sizes compare. The largest group of every layer stays: a layer without any would cut the
    network in two.

    Args:
        groups: The groups.
        share: Share of all groups that are zero afterwards, 0 to 1; groups that are zero already
            count.

    Raises:
        UsageError: More would have to go than there are beside the largest of every layer.

    Source: the control that paper B lacks; magnitude pruning of filters, Li et al. (2017),
        arXiv 1608.08710, here of input channels and over all layers at once.
    """
    sizes = [(group.norms() / group.scale).cpu() for group in groups]
    for size in sizes:
        size[size.argmax()] = torch.inf
    together = torch.cat(sizes)
    wanted = round(share * len(together))
    possible = int(together.isfinite().sum())
    if wanted > possible:
        raise UsageError(
            f"{wanted} of {len(together)} groups are to be zero, and {possible} can be: one of "
            "every layer stays",
            hint="ask for less: sparsity.target",
        )
    zero = torch.zeros(len(together), dtype=torch.bool)
    zero[together.argsort(stable=True)[:wanted]] = True
    masks = torch.split(zero, [len(size) for size in sizes])
    for group, mask in zip(groups, masks, strict=True):
        group.clear(mask.to(group.parameter.device))
