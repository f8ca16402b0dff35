"""Random networks with whole dead branches and layers, and constants of every kind."""

import torch
import torch.nn.functional as F
from random_nets import SIZE, STEPS, RandomNet, randomise
from torch import Tensor, nn


class RandomDeadNet(RandomNet):
    """A random network of two inputs in which whole branches, gates and layers may be dead."""

    inputs = ((3, SIZE), (2, SIZE))

    def __init__(self, seed: int, num_steps: int = 12) -> None:
        super().__init__(seed, num_steps)
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randint(2, len(self.shapes), (3,), generator=generator).tolist()
        self.outputs = sorted({*self.outputs, *chosen} - {1})  # features that others read too

    def kinds(self) -> list[str]:
        return DEAD_STEPS

    def forward(self, image: Tensor, other: Tensor) -> dict[str, Tensor]:
        return self.run([image, other])

    def bottleneck(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        inner = self.rng.choice([2, 3, channels])
        layer = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, channels, 3, padding=1), nn.BatchNorm2d(channels),
        )  # fmt: skip
        self._step("join_" + self.rng.choice(JOINS), (source,), (channels, side), layer)

    def excitation(self) -> None:
        source = self._pick()
        channels, _ = self.shapes[source]
        layer = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 3, 1), nn.ReLU(),
            nn.Conv2d(3, self.rng.choice([1, channels]), 1),
            self.rng.choice([nn.Sigmoid(), nn.Hardsigmoid(), nn.Identity()]),
        )  # fmt: skip
        self._step("gate", (source,), self.shapes[source], layer)

    def attention(self) -> None:
        source = self._pick()
        channels, _ = self.shapes[source]
        layer = nn.Sequential(
            nn.Conv2d(channels, 3, 3, padding=1), nn.Conv2d(3, 1, 1), nn.Sigmoid()
        )
        self._step("gate", (source,), self.shapes[source], layer)

    def pyramid(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        rows = self.rng.choice([3, 4])
        layer = Pyramid(channels, rows, self.rng.choice([1, 3]), self.rng.choice(["cat", "sum"]))
        self._step("layer", (source,), (rows, side), layer)

    def word_padding(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        kernel, dilation = self.rng.choice([(1, 1), (2, 2), (3, 1), (3, 2), ((1, 3), 1)])
        layer = nn.Conv2d(channels, 4, kernel, padding="same", dilation=dilation)
        self._step("layer", (source,), (4, side), layer)

    def copied_padding(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        mode = self.rng.choice(["reflect", "replicate", "circular"])
        layer = nn.Conv2d(channels, 4, 3, padding=1, padding_mode=mode)
        self._step("layer", (source,), (4, side), layer)

    def called_twice(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        same = [i for i, shape in enumerate(self.shapes) if i and shape == (channels, side)]
        layer = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4))
        self._step("siamese", (source, self.rng.choice(same)), (4, side), layer)

    def flat(self) -> None:
        source = self._pick()
        self._step("flat", (source,), self.shapes[source])

    def extreme(self) -> None:
        source = self._pick()
        same = [i for i, shape in enumerate(self.shapes) if i and shape == self.shapes[source]]
        kind = self.rng.choice(["maximum", "minimum"])
        self._step(kind, (source, self.rng.choice(same)), self.shapes[source])

    def other_step(self, kind: str, operands: list[Tensor], layer: nn.Module) -> Tensor:
        x = operands[0]
        if kind == "flat":
            return x * 0.0 + 0.75
        if kind == "siamese":
            return layer(x) - layer(operands[1]).relu()
        if kind == "join_rsub":
            return layer(x) - x
        if kind == "join_alpha":
            return torch.add(layer(x), x, alpha=0.5)
        if kind == "join_cat":
            return torch.cat([layer(x), x], 1)[:, 1 : 1 + x.shape[1]]
        if kind.startswith("join_"):
            return getattr(torch, kind.removeprefix("join_"))(x, layer(x))
        return super().other_step(kind, operands, layer)


class Pyramid(nn.Module):
    """Parallel dilated convolutions and a pooled branch, concatenated or added."""

    def __init__(self, channels: int, rows: int, kernel: int, join: str) -> None:
        super().__init__()
        self.join = join
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, 4, 3, padding=rate, dilation=rate, bias=False),
                nn.BatchNorm2d(4), nn.ReLU(),
            )
            for rate in (1, 2, 3)
        )  # fmt: skip
        self.pooled = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.BatchNorm2d(4), nn.ReLU()
        )
        read = 16 if join == "cat" else 4
        self.project = nn.Conv2d(read, rows, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.interpolate(self.pooled(x), size=x.shape[-2:], mode="bilinear")
        parts = [*(branch(x) for branch in self.branches), pooled]
        return self.project(torch.cat(parts, 1) if self.join == "cat" else sum(parts))


JOINS = ["add", "add", "sub", "rsub", "mul", "maximum", "minimum", "alpha", "cat"]
DEAD_STEPS = [
    *STEPS, *3 * ["bottleneck"], *2 * ["excitation", "pyramid", "called_twice"], "attention",
    "word_padding", "copied_padding", "flat", "extreme",
]  # fmt: skip


def randomise_dead(model: nn.Module, seed: int, *, dead: float = 0.25) -> nn.Module:
    """As ``randomise``; then let whole layers be dead, in every 16th network all of them.

    A dead layer's constants are its biases; these are zero in a third of the dead layers.
    """
    randomise(model, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    share = 1.0 if seed % 16 == 0 else dead
    with torch.no_grad():
        for module in model.modules():
            drawn, silent = torch.rand(2, generator=generator).tolist()
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d) and drawn < share:
                module.weight.zero_()
                if silent < 1 / 3 and module.bias is not None:
                    module.bias.zero_()
    return model
