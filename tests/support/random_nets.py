"""Random networks for the compiler's tests: every op with a rule, and some without one."""

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 16


class RandomNet(nn.Module):
    """A network drawn from a seed: a list of steps over a growing list of values.

    Whole rows, columns and batch norm scales are zero at random, so that every mixture of dead,
    constant and live channels occurs.
    """

    inputs: tuple[tuple[int, int], ...] = ((3, SIZE),)
    """Channels and side of what it takes."""

    def __init__(self, seed: int, num_steps: int = 14) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.layers = nn.ModuleList()
        self.steps: list[tuple[str, tuple[int, ...], int]] = []
        self.shapes: list[tuple[int, int]] = list(self.inputs)  # channels, side
        self._conv(0, self.rng.choice([4, 6]))
        while len(self.steps) < num_steps:
            getattr(self, self.rng.choice(self.kinds()))()
        self.outputs = sorted({len(self.shapes) - 1, self.rng.randrange(1, len(self.shapes))})
        del self.rng

    def kinds(self) -> list[str]:
        """Return the steps to draw from."""
        return STEPS

    # Steps; each appends one value.

    def _pick(self) -> int:
        return self.rng.randrange(max(1, len(self.shapes) - 5), len(self.shapes))

    def _step(
        self, kind: str, sources: tuple[int, ...], shape: tuple[int, int], layer=None
    ) -> None:
        if layer is not None:
            self.layers.append(layer)
        self.steps.append((kind, sources, len(self.layers) - 1))
        self.shapes.append(shape)

    def _conv(self, source: int, rows: int) -> None:
        channels, side = self.shapes[source]
        kernel, dilation = self.rng.choice([(1, 1), (3, 1), (3, 2)])
        padding = self.rng.choice([0, (kernel // 2) * dilation, (kernel // 2) * dilation + 1])
        stride = self.rng.choice([1, 1, 2])
        out = (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        if out < 4:
            padding, stride, out = (kernel // 2) * dilation, 1, side
        layer = nn.Conv2d(
            channels, rows, kernel, stride, padding, dilation, bias=self.rng.random() < 0.6
        )
        self._step("layer", (source,), (rows, out), layer)

    def conv(self) -> None:
        self._conv(self._pick(), self.rng.choice([3, 4, 6, 8]))

    def batch_norm(self) -> None:
        source = self._pick()
        self._step("layer", (source,), self.shapes[source], nn.BatchNorm2d(self.shapes[source][0]))

    def activation(self) -> None:
        source = self._pick()
        layer = self.rng.choice([
            nn.ReLU(), nn.ReLU(inplace=True), nn.SiLU(), nn.Hardswish(), nn.Sigmoid(),
            nn.Dropout(0.3), nn.LeakyReLU(0.2, inplace=True), nn.ReLU6(), nn.GELU(),
        ])  # fmt: skip
        self._step("layer", (source,), self.shapes[source], layer)

    def arithmetic(self) -> None:
        source = self._pick()
        self._step(self.rng.choice(["plus", "times"]), (source,), self.shapes[source])

    def residual(self) -> None:
        source = self._pick()
        same = [i for i, shape in enumerate(self.shapes) if i and shape == self.shapes[source]]
        other = self.rng.choice(same)
        self._step(
            self.rng.choice(["add", "add_", "mul", "sub"]), (source, other), self.shapes[source]
        )

    def branch(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        layer = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self._step("branch", (source,), (channels, side), layer)

    def gate(self) -> None:
        source = self._pick()
        channels, _ = self.shapes[source]
        layer = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid()
        )
        self._step("gate", (source,), self.shapes[source], layer)

    def cat(self) -> None:
        source = self._pick()
        side = self.shapes[source][1]
        same = [i for i, shape in enumerate(self.shapes) if i and shape[1] == side]
        chosen = tuple(self.rng.choice(same) for _ in range(self.rng.choice([1, 2])))
        total = self.shapes[source][0] + sum(self.shapes[i][0] for i in chosen)
        if total <= 24:
            self._step("cat", (source, *chosen), (total, side))

    def pool(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        if side >= 8:
            layer = self.rng.choice([
                nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1),
                nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            ])  # fmt: skip
            out = (side - 2) // 2 + 1 if layer.kernel_size == 2 else (side - 1) // 2 + 1
            self._step("layer", (source,), (channels, out), layer)

    def unpool(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        if side >= 8:
            layer = nn.Conv2d(channels, channels, 3, padding=1)
            self._step("unpool", (source,), (channels, side), layer)

    def resize(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        kind = self.rng.choice(["bilinear", "nearest"])
        if side <= SIZE:
            self._step(kind, (source,), (channels, 2 * side))

    def shared(self) -> None:
        source = self._pick()
        channels, _ = self.shapes[source]
        layer = nn.Conv2d(channels, channels, 3, padding=1)
        self._step("twice", (source,), self.shapes[source], layer)

    def unknown(self) -> None:
        source = self._pick()
        self._step(self.rng.choice(["flip", "grouped"]), (source,), self.shapes[source],
                   nn.Conv2d(self.shapes[source][0], self.shapes[source][0], 1,
                             groups=self.shapes[source][0]))  # fmt: skip

    def linear(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        self._step("linear", (source,), (channels, side), nn.Linear(channels, channels))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return self.run([image])

    def run(self, values: list[Tensor]) -> dict[str, Tensor]:
        """Compute the steps from the inputs; return the outputs by name."""
        for kind, sources, index in self.steps:
            x = values[sources[0]]
            layer = self.layers[index]
            if kind == "layer":
                y = layer(x)
            elif kind == "branch":
                y = x + layer(x)
            elif kind == "gate":
                y = x * layer(x)
            elif kind == "unpool":
                pooled, positions = F.max_pool2d(x, 2, 2, return_indices=True)
                y = F.max_unpool2d(layer(pooled), positions, 2, 2, output_size=x.shape[-2:])
            elif kind == "twice":
                y = layer(layer(x))
            elif kind == "flip":
                y = x.flip(1)
            elif kind == "grouped":
                y = layer(x)
            elif kind == "linear":
                y = x * layer(x.mean((2, 3)))[:, :, None, None].sigmoid()
            elif kind == "cat":
                y = torch.cat([values[i] for i in sources], 1)
            elif kind in ("bilinear", "nearest"):
                y = F.interpolate(x, scale_factor=2, mode=kind)
            elif kind == "plus":
                y = x + 0.5
            elif kind == "times":
                y = x * -1.5
            elif kind == "add_":
                y = torch.relu(x).add_(values[sources[1]])
            else:
                y = self.other_step(kind, [values[i] for i in sources], layer)
            values.append(y)
        return {f"out{i}": values[i] for i in self.outputs}

    def other_step(self, kind: str, operands: list[Tensor], layer: nn.Module) -> Tensor:
        """Run a step by its name in torch; subclasses add steps of their own here."""
        return getattr(torch, kind)(*operands)


STEPS = [
    "conv", "conv", "conv", "batch_norm", "batch_norm", "activation", "activation", "arithmetic",
    "residual", "residual", "branch", "gate", "cat", "pool", "unpool", "resize", "shared",
    "unknown", "linear",
]  # fmt: skip


def randomise(model: nn.Module, seed: int, *, zeros: float = 0.5) -> nn.Module:
    """Give a network random weights, statistics and zero groups, and put it into eval mode."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                size = module.num_features
                module.running_mean.copy_(draw(size) - 0.5)
                module.running_var.copy_(draw(size) + 0.5)
                module.weight.copy_((draw(size) + 0.5) * (draw(size) > 0.2))
                module.bias.copy_((draw(size) - 0.5) * (draw(size) > 0.3))
            elif isinstance(module, nn.Conv2d | nn.Linear):
                weight = module.weight
                weight.copy_(
                    torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5
                )
                if weight.shape[1] > 3:
                    weight[:, draw(weight.shape[1]) < zeros] = 0
                weight[draw(weight.shape[0]) < 0.25] = 0
                if module.bias is not None:
                    module.bias.copy_(
                        (draw(module.bias.shape[0]) - 0.5) * (draw(module.bias.shape[0]) > 0.3)
                    )
    return model.eval()
