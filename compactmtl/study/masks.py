"""Seeded zero groups: what a sparse training might leave behind, without training."""

from collections.abc import Sequence

import torch
from torch import nn

from compactmtl.errors import UsageError
from compactmtl.sparsity import ChannelGroups, groups

FEW = 4
"""Layers with at most so many input channels read the network's input, which nobody prunes."""


def scenarios(
    network: nn.Module, encoder: Sequence[str] | None
) -> dict[str, Sequence[ChannelGroups]]:
    """Return by name the channel groups that a training might make sparse.

    Args:
        network: A contracted network.
        encoder: Patterns of the encoder's layers; None takes ``network.encoder_layers``, and where
            it declares none, there is one scenario with all layers.

    Raises:
        PatternError: A pattern matches no layer.
        UsageError: No layer has channel groups.
    """
    reads = getattr(network, "head_reads", None)
    encoder = encoder or getattr(network, "encoder_layers", None)
    if encoder is None:
        return {"all layers": _wide(groups(network, layers="*", reads=()))}
    everything = groups(network, layers="*" if reads is None else (*encoder, *reads), reads=())
    return {
        "encoder": _wide(groups(network, layers=encoder, reads=())),
        "encoder and heads": _wide(everything),
    }


def _wide(found: Sequence[ChannelGroups]) -> Sequence[ChannelGroups]:
    wide = [group for group in found if group.num_groups > FEW]
    if not wide:
        raise UsageError(
            f"no layer has more than {FEW} channel groups: there is nothing to make sparse",
            hint="name other layers with --encoder",
        )
    return wide


@torch.no_grad()
def zero_share(found: Sequence[ChannelGroups], share: float, *, seed: int) -> None:
    """Set a share of every layer's groups to zero, in place, at least one is kept.

    With one seed, what is zero at a small share is zero at a larger one, too.

    Args:
        found: The groups.
        share: 0 to 1.
        seed: For the choice of groups.
    """
    generator = torch.Generator().manual_seed(seed)
    for group in found:
        order = torch.randperm(group.num_groups, generator=generator)
        zeros = order[: min(round(share * group.num_groups), group.num_groups - 1)]
        mask = torch.zeros(group.num_groups, dtype=torch.bool).index_fill_(0, zeros, True)
        group.clear(mask.to(group.parameter.device))
