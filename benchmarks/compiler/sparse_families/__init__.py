"""Eight families of networks with seeded zero groups, as a sparse training would leave them.

In all but (b), 70 % random zero input groups in every convolution of the backbone but the stem and
depthwise ones; heads dense. (b) has a realistic profile: layer1 5 %, layer2 50 %, layer3 90 %,
layer4 75 %, and 15 % of layer2's and 50 % of layer3's stream channels dead for all their readers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparse_families import nets
from sparse_families.sparsify import (
    num_columns,
    prunable,
    randomise_norms,
    zero_columns,
    zero_shares,
)

ZEROS = 0.7
STAGES = {"layer1": (0.05, 0.0), "layer2": (0.5, 0.15), "layer3": (0.9, 0.5), "layer4": (0.75, 0.0)}
"""Of the realistic profile, per stage: zero groups of each layer, stream channels nobody reads."""


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        letter: As in the tables.
        title: What it is.
        dense: Builds it for a width factor, weights at random.
        size: Height and width of its input in the benchmark.
        heads: Name of the part that stays dense.
    """

    letter: str
    title: str
    dense: Callable[[float], nn.Module]
    size: int
    heads: str = "heads"

    def make(self, *, width: float = 1.0, seed: int = 0) -> nn.Module:
        """Return the sparse network in eval mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.dense(width)
        randomise_norms(network, seed + 1)
        if self.dense is nets.deeplab:
            return realistic(network, seed + 2)
        return zero_shares(network, lambda _: ZEROS, seed + 2, keep=(self.heads,))

    def images(self, batch: int = 1, size: int | None = None, *, seed: int = 0) -> Tensor:
        """Return (batch, 3, size, size) uniform in [0, 1)."""
        side = size or self.size
        return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def realistic(network: nn.Module, seed: int) -> nn.Module:
    """Give a DeepLab the realistic profile; see the module's docstring."""
    zero_shares(network, lambda name: STAGES[name.split(".")[1]][0], seed, keep=("heads",))
    generator = torch.Generator().manual_seed(seed + 1)
    stages = list(STAGES)
    for stage, after in zip(stages, [*stages[1:], ""], strict=True):
        share = STAGES[stage][1]
        readers = [
            layer
            for name, layer in prunable(network, keep=("heads",))
            if reads_stream(name, stage, after)
        ]
        if share:
            size = num_columns(readers[0])
            dead = torch.zeros(size, dtype=torch.bool)
            dead[torch.randperm(size, generator=generator)[: round(share * size)]] = True
            for layer in readers:
                zero_columns(layer, dead)
    return network


def reads_stream(name: str, stage: str, after: str) -> bool:
    """Tell whether a layer reads what the blocks of a stage add up."""
    _, owner, block, *rest = name.split(".")
    if owner == stage:
        return block != "0" and rest == ["conv1"]
    return owner == after and block == "0" and rest in (["conv1"], ["downsample", "0"])


FAMILIES = {
    "chain": Family("a", "VGG chain, down and up, 2 heads", nets.chain, 256),
    "deeplab": Family("b", "ResNet-50 dilated + 3 DeepLabV3 heads", nets.deeplab, 256),
    "mobile": Family("c", "MobileNetV2, 2 heads", nets.mobile, 128),
    "dense": Family("d", "DenseNet (6, 12, 8)", nets.dense, 128),
    "shuffle": Family("e", "ShuffleNetV2", nets.shuffle, 128),
    "squeeze": Family("f", "SE-ResNet", nets.squeeze, 128),
    "convnext": Family("g", "ConvNeXt", nets.convnext, 128),
    "grouped": Family("h", "ResNeXt-like, 8 groups", nets.grouped, 128),
}

UNPOOLING = Family("s", "SegNet with unpooling, 2 heads", nets.segnet, 256)
"""No peer knows that positions of maxima have channels too, so it is none of the eight."""
