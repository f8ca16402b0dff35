"""What Panoptic FPN hands from part to part: only the channels of the pyramid that RoI heads read.

RoI align works channel by channel. A channel with zero weights in both heads changes nothing; left
out between the parts, it is seen to be dead where each part is compiled alone.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compactmtl.errors import UsageError


class Handed(nn.Module):
    """Where channels of the pyramid are handed on: all of them, unless ``keep`` said which.

    Args:
        num_channels: Of the pyramid.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.kept: Tensor | None
        self.order: Tensor | None
        self.register_buffer("kept", None, persistent=False)
        self.register_buffer("order", None, persistent=False)

    def keep(self, kept: Tensor) -> None:
        """Hand on these channels only, by their numbers, ascending."""
        if len(kept) == self.num_channels:
            return
        order = torch.full((self.num_channels,), len(kept))  # what was not handed on reads zeros
        order[kept] = torch.arange(len(kept))
        self.kept, self.order = kept, order

    def narrow(self, features: Tensor) -> Tensor:
        """Return what is handed on."""
        return features if self.kept is None else features.index_select(1, self.kept)

    def widen(self, features: Tensor) -> Tensor:
        """Return all channels, those that were not handed on zero."""
        if self.order is None:
            return features
        return F.pad(features, (0, 0, 0, 0, 0, 1)).index_select(1, self.order)


def read_channels(readers: list[nn.Conv2d | nn.Linear], num_channels: int) -> Tensor:
    """Return the channels that some layer does not multiply by zero alone, ascending; one at least.

    Args:
        readers: Plain layers; the columns of a linear layer are channels times places.
        num_channels: How many channels each reads.

    Raises:
        UsageError: One is expanded.
    """
    read = torch.zeros(num_channels, dtype=torch.bool)
    for layer in readers:
        if parametrize.is_parametrized(layer):
            raise UsageError(
                "a RoI head is expanded, expected plain layers", hint="contract(network) first"
            )
        columns = layer.weight.detach().reshape(len(layer.weight), num_channels, -1)
        read |= (columns != 0).any(dim=2).any(dim=0)
    read[0] |= not bool(read.any())
    return read.nonzero().flatten()


def filled_up(channels: Tensor, num_channels: int, round_up: Callable[[int], int]) -> Tensor:
    """Return the channels and the first of the others, as many as ``round_up`` says; ascending."""
    wanted = min(round_up(len(channels)), num_channels)
    others = torch.ones(num_channels, dtype=torch.bool)
    others[channels] = False
    more = others.nonzero().flatten()[: wanted - len(channels)]
    return torch.cat([channels, more]).sort().values
