"""Random networks with what mobile networks are made of: groups, splits, shuffles."""

import torch
import torch.nn.functional as F
from random_nets import SIZE, STEPS, RandomNet, randomise
from torch import Tensor, nn


class RandomGroupedNet(RandomNet):
    """A random network that also has grouped and transposed convolutions, splits and shuffles."""

    def kinds(self) -> list[str]:
        return GROUPED_STEPS

    def _groups(self, channels: int) -> int:
        return self.rng.choice([g for g in (2, 3, 4, channels) if channels % g == 0] or [channels])

    def _border(self) -> dict[str, int]:
        return self.rng.choice([
            {"kernel_size": 1}, {"kernel_size": 3, "padding": 1},
            {"kernel_size": 3, "padding": 2, "dilation": 2},
        ])  # fmt: skip

    def _grouped(self, source: int, multiplier: int, groups: int) -> None:
        channels, side = self.shapes[source]
        border = self._border()
        if self.rng.random() < 0.3 and side >= 8:
            border, side = {"kernel_size": 3}, side - 2  # without padding constants fold
        layer = nn.Conv2d(
            channels, channels * multiplier, groups=groups, bias=self.rng.random() < 0.6, **border
        )
        self._step("layer", (source,), (channels * multiplier, side), layer)

    def depthwise(self) -> None:
        source = self._pick()
        channels, _ = self.shapes[source]
        if channels <= 12:
            self._grouped(source, self.rng.choice([1, 1, 2, 3]), channels)

    def grouped(self) -> None:
        source = self._pick()
        channels, _ = self.shapes[source]
        if channels <= 12:
            self._grouped(source, self.rng.choice([1, 1, 2]), self._groups(channels))

    def inverted(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        layer = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1), nn.BatchNorm2d(2 * channels), nn.ReLU6(),
            nn.Conv2d(2 * channels, 2 * channels, groups=self.rng.choice([2, 2 * channels]),
                      **self._border()),
            nn.BatchNorm2d(2 * channels), nn.Hardswish(), nn.Conv2d(2 * channels, channels, 1),
        )  # fmt: skip
        self._step("branch", (source,), (channels, side), layer)

    def transposed(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        if side <= SIZE:
            rows = self.rng.choice([3, 4, 6])
            border = self.rng.choice([
                {"kernel_size": 2, "stride": 2}, {"kernel_size": 4, "stride": 2, "padding": 1},
                {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
            ])  # fmt: skip
            layer = nn.ConvTranspose2d(channels, rows, bias=self.rng.random() < 0.6, **border)
            self._step("layer", (source,), (rows, 2 * side), layer)

    def split(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        if channels >= 4:
            kind = self.rng.choice(["chunk", "swap", "stride", "narrow", "sizes"])
            width = {"chunk": channels // 2, "stride": (channels + 1) // 2, "narrow": channels - 2}
            layer = Part(kind) if kind != "sizes" else Hierarchy(channels)
            self._step("layer", (source,), (width.get(kind, channels), side), layer)

    def shuffle(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        factors = [g for g in (2, 3, 4) if channels % g == 0]
        if factors:
            layer = Shuffle(self.rng.choice(factors), self.rng.randrange(4))
            self._step("layer", (source,), (channels, side), layer)


GROUPED_STEPS = [
    *STEPS, *3 * ["depthwise", "grouped"], *2 * ["split", "shuffle", "inverted", "transposed"],
]  # fmt: skip


def randomise_grouped(model: nn.Module, seed: int, *, zeros: float = 0.5) -> nn.Module:
    """As ``randomise``, with zero columns per group, and in transposed convolutions too."""
    randomise(model, seed, zeros=zeros)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                by_group = module.weight.view(module.groups, -1, *module.weight.shape[1:])
                drawn = torch.rand(module.groups, by_group.shape[2], generator=generator)
                by_group.transpose(1, 2)[drawn < zeros / 2] = 0
            elif isinstance(module, nn.ConvTranspose2d):
                columns, rows = module.weight.shape[:2]
                module.weight[torch.rand(columns, generator=generator) < zeros] = 0
                module.weight[:, torch.rand(rows, generator=generator) < 0.25] = 0
    return model


class Part(nn.Module):
    """Some of the channels, or their halves swapped."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        if self.kind == "chunk":
            return x[:, : 2 * (channels // 2)].chunk(2, 1)[1]
        if self.kind == "swap":
            first, second = x.split([channels // 2, channels - channels // 2], 1)
            return torch.cat([second, F.relu(first)], 1)
        return x[:, ::2] if self.kind == "stride" else x.narrow(1, 1, channels - 2)


class Hierarchy(nn.Module):
    """Res2Net's block: each part is convolved together with the result of the one before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = channels // 2
        self.conv = nn.Conv2d(self.width, self.width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b, *rest = x.split(self.width, 1)
        return torch.cat([a, self.conv(a + b), *rest], 1)


class Shuffle(nn.Module):
    """Channel shuffle in the four spellings that networks use."""

    def __init__(self, groups: int, spelling: int) -> None:
        super().__init__()
        self.groups, self.spelling = groups, spelling

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if self.spelling == 0:
            return torch.channel_shuffle(x, self.groups)
        y = x.reshape(n, self.groups, c // self.groups, h, w)
        if self.spelling == 1:
            return y.transpose(1, 2).contiguous().view(n, c, h, w)
        if self.spelling == 2:
            return y.permute(0, 2, 1, 3, 4).reshape(n, -1, h, w)
        return y.transpose(1, 2).flatten(1, 2)
