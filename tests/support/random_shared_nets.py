"""Random networks that call layers several times: heads on levels, recurrences, tied weights."""

import torch.nn.functional as F
from random_grouped_nets import RandomGroupedNet
from random_nets import SIZE, STEPS
from torch import Tensor, nn


class RandomSharedNet(RandomGroupedNet):
    """As ``RandomNet``, with a few layers that many steps share, on values of any make and size."""

    def __init__(self, seed: int, num_steps: int = 16) -> None:
        self.reusable: list[tuple[int, int, int]] = []  # columns, rows, place in `layers`
        super().__init__(seed, num_steps)

    def kinds(self) -> list[str]:
        return SHARED_STEPS

    def _make(self, channels: int) -> tuple[int, nn.Module]:
        """Return a new layer with its number of output channels."""
        border = {"kernel_size": 3, "padding": 1}
        divisors = [n for n in range(2, channels + 1) if channels % n == 0]
        rows = self.rng.choice([channels, channels, 4, 6])
        kind = self.rng.choice([
            "conv", "conv", "point", "norm", "grouped", "depthwise", "group_norm", "prelu", "block",
        ])  # fmt: skip
        if kind == "conv":
            return rows, nn.Conv2d(channels, rows, bias=self.rng.random() < 0.7, **border)
        if kind == "point":
            return rows, nn.Conv2d(channels, rows, 1, bias=self.rng.random() < 0.7)
        if kind == "grouped":
            groups = self.rng.choice(divisors)
            return channels, nn.Conv2d(channels, channels, groups=groups, **border)
        if kind == "depthwise":
            return channels, nn.Conv2d(channels, channels, groups=channels, **border)
        if kind == "norm":
            return channels, nn.BatchNorm2d(channels)
        if kind == "group_norm":
            return channels, nn.GroupNorm(self.rng.choice(divisors), channels)
        if kind == "prelu":
            return channels, nn.PReLU(channels)
        return channels, nn.Sequential(
            nn.Conv2d(channels, channels, **border), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 1), nn.ReLU(),
        )  # fmt: skip

    def reuse(self) -> None:
        """Call a layer once more, or a new one, on any value that fits."""
        source = self._pick()
        channels, side = self.shapes[source]
        if channels < 2:
            return
        fitting = [entry for entry in self.reusable if entry[0] == channels]
        if not fitting or self.rng.random() < 0.2:
            rows, layer = self._make(channels)
            self.layers.append(layer)
            fitting = [(channels, rows, len(self.layers) - 1)]
            self.reusable += fitting
        _, rows, index = self.rng.choice(fitting)
        self.steps.append(("layer", (source,), index))
        self.shapes.append((rows, side))

    def levels(self) -> None:
        """Call one head on a value and on a smaller and a larger one of the same channels."""
        source = self._pick()
        channels, side = self.shapes[source]
        if side < 8 or side > SIZE:
            return
        self._step("layer", (source,), (channels, side // 2),
                   nn.Conv2d(channels, channels, 3, 2, 1))  # fmt: skip
        small = len(self.shapes) - 1
        rows, layer = self._make(channels)
        self._step("layer", (small,), (rows, side // 2), layer)
        head = len(self.shapes) - 1
        self.steps.append(("layer", (source,), len(self.layers) - 1))
        self.shapes.append((rows, side))
        self._step("nearest", (head,), (rows, 2 * (side // 2)))
        if side % 2 == 0:
            kind = self.rng.choice(["add", "cat"])
            width = rows * (2 if kind == "cat" else 1)
            self._step(kind, (len(self.shapes) - 1, len(self.shapes) - 2), (width, side))

    def recurrent(self) -> None:
        source = self._pick()
        channels, _ = self.shapes[source]
        layer = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.Tanh())
        kind = self.rng.choice(["twice", "again", "through"])
        self._step(kind, (source,), self.shapes[source], layer)

    def tied(self) -> None:
        source = self._pick()
        channels, _ = self.shapes[source]
        first, second = (nn.Conv2d(channels, channels, 1, bias=b) for b in (True, False))
        if self.rng.random() < 0.5:
            second = nn.Conv2d(channels, channels, 1, dilation=2)
        second.weight = first.weight
        layer = nn.ModuleList([first, second])
        self._step(self.rng.choice(["chained", "beside", "turned"]), (source,), self.shapes[source],
                   layer)  # fmt: skip

    def other_step(self, kind: str, operands: list[Tensor], layer: nn.Module) -> Tensor:
        x = operands[0]
        if kind == "again":  # a residual stream in which every step is the same
            return x + layer(x + layer(x))
        if kind == "through":  # the second input has been through an op without a rule
            return layer(layer(x).flip(1))
        if kind == "chained":
            return layer[1](layer[0](x).relu())
        if kind == "beside":
            return layer[0](x) - layer[1](x.sigmoid())
        if kind == "turned":  # one weight in two kinds of layer
            return layer[0](x) + F.conv_transpose2d(x, layer[0].weight)
        return super().other_step(kind, operands, layer)


SHARED_STEPS = [
    *STEPS, *5 * ["reuse"], *3 * ["levels"], *2 * ["recurrent", "tied"], "split", "grouped",
]  # fmt: skip
