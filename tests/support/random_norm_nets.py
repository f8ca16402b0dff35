"""Random networks of norms, parameters as operands, moved axes, views and pads."""

import torch
import torch.nn.functional as F
from random_nets import SIZE, RandomNet, randomise
from torch import Tensor, nn


class Parameter(nn.Module):
    """Holds one tensor."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(shape))


class RandomNormNet(RandomNet):
    """As ``RandomNet``, with the ops of ConvNeXt, EfficientNet, VGG and padded networks."""

    def kinds(self) -> list[str]:
        return NORM_STEPS

    def operand(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        shape = self.rng.choice(
            [(channels, 1, 1), (1, channels, 1, 1), (1,), (), (1, 1, side, side), (side,),
             (channels, side, side)]
        )  # fmt: skip
        kind = self.rng.choice(["p_mul", "p_mul", "p_add", "p_sub", "p_first", "p_div", "p_max"])
        self._step(kind, (source,), (channels, side), Parameter(*shape))

    def prelu(self) -> None:
        source = self._pick()
        channels = self.shapes[source][0]
        self._step("layer", (source,), self.shapes[source],
                   nn.PReLU(self.rng.choice([1, channels])))  # fmt: skip

    def block(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        layer = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=self.rng.choice([1, channels])),
            nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU(),
            nn.Linear(2 * channels, channels), Parameter(channels),
        )  # fmt: skip
        self._step(self.rng.choice(["next", "next_first"]), (source,), (channels, side), layer)

    def group_norm(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        divisors = [n for n in range(1, channels + 1) if channels % n == 0]
        self._step("layer", (source,), (channels, side),
                   nn.GroupNorm(self.rng.choice(divisors), channels))  # fmt: skip

    def instance_norm(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        affine, tracked = self.rng.random() < 0.7, self.rng.random() < 0.3
        layer = nn.InstanceNorm2d(channels, affine=affine, track_running_stats=tracked)
        self._step("layer", (source,), (channels, side), layer)

    def layer_norm(self) -> None:
        source = self._pick()
        self._step("last", (source,), self.shapes[source], nn.LayerNorm(self.shapes[source][0]))

    def last_linear(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        rows = self.rng.choice([4, 6, channels])
        self._step("last", (source,), (rows, side), nn.Linear(channels, rows))

    def classify(self) -> None:
        source = self._pick()
        channels, _ = self.shapes[source]
        layer = nn.Sequential(nn.Linear(4 * channels, 4 * channels), nn.Linear(4 * channels, 4))
        self._step(self.rng.choice(["flatten", "view", "fold"]), (source,), self.shapes[source],
                   layer)  # fmt: skip

    def pads(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        if side <= SIZE:
            kind = self.rng.choice(["zeros", "ones", "reflect", "replicate", "circular"])
            self._step(kind, (source,), (channels, side + 2))

    def pad_channels(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        if channels <= 16:
            self._step(self.rng.choice(["more0", "more1"]), (source,), (channels + 3, side))

    def shuffle(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        if side % 2 == 0:
            if channels <= 6:
                self._step("unshuffle", (source,), (4 * channels, side // 2))
            elif channels % 4 == 0:
                self._step("shuffle", (source,), (channels // 4, 2 * side))

    def reduce(self) -> None:
        source = self._pick()
        kind = self.rng.choice(["mean", "sum", "amax", "softmax", "spatial_gate", "squeezed"])
        self._step(kind, (source,), self.shapes[source])

    def lengths(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        if side >= 6:
            self._step(self.rng.choice(["crop", "tokens"]), (source,), (channels, side - 1))

    def other_step(self, kind: str, operands: list[Tensor], layer: nn.Module) -> Tensor:
        x = operands[0]
        if kind.startswith("p_"):
            p = layer.value
            y = {
                "p_mul": lambda: x * p, "p_add": lambda: x + p, "p_sub": lambda: x - p,
                "p_first": lambda: torch.sub(p, x, alpha=0.5), "p_div": lambda: x / (p + 3.0),
                "p_max": lambda: torch.maximum(x, p),
            }[kind]()  # fmt: skip
        elif kind.startswith("next"):
            conv, norm, one, act, two, scale = layer
            inner = two(act(one(norm(conv(x).permute(0, 2, 3, 1)))))
            if kind == "next":
                y = x + (inner * scale.value).permute(0, 3, 1, 2)
            else:
                y = scale.value[:, None, None] * inner.permute(0, 3, 1, 2) + x
        elif kind == "last":
            y = layer(x.transpose(1, 3)).transpose(-1, 1)
        elif kind in ("flatten", "view", "fold"):
            small = F.adaptive_avg_pool2d(x, 2)
            if kind == "flatten":
                y = x + layer(small.flatten(1)).mean(1).reshape(-1, 1, 1, 1)
            elif kind == "view":
                y = x * layer(small.contiguous().view(x.shape[0], -1)).sigmoid()[:, :1, None, None]
            else:
                y = x + layer[0](small.reshape(-1, 4 * x.shape[1])).view(-1, x.shape[1], 2, 2).mean(
                    (2, 3), keepdim=True
                )
        elif kind in ("zeros", "ones"):
            y = F.pad(x, (1, 1, 1, 1), value=float(kind == "ones"))
        elif kind in ("reflect", "replicate", "circular"):
            y = F.pad(x, (1, 1, 1, 1), mode=kind)
        elif kind in ("more0", "more1"):
            y = F.pad(x, (0, 0, 0, 0, 1, 2), value=float(kind == "more1"))
        elif kind == "unshuffle":
            y = F.pixel_unshuffle(x, 2)
        elif kind == "shuffle":
            y = F.pixel_shuffle(x, 2)
        elif kind == "mean":
            y = 1 - x * x.mean((2, 3), keepdim=True)
        elif kind == "sum":
            y = x + x.sum((2, 3)).unsqueeze(2).unsqueeze(-1) / 50
        elif kind == "amax":
            y = x - x.amax((2, 3)).view(-1, x.shape[1], 1, 1)
        elif kind == "softmax":
            y = x + x.flatten(2).softmax(-1).view(x.shape)
        elif kind == "spatial_gate":
            y = x * x.mean(1, keepdim=True).sigmoid()
        elif kind == "squeezed":
            y = x + F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)[:, :, None, None]
        elif kind == "crop":
            y = x[:, :, 1:, :-1]
        elif kind == "tokens":
            y = x.permute(0, 2, 3, 1)[:, 1:, 1:].permute(0, 3, 1, 2).clamp(-2, 2)
        else:
            y = super().other_step(kind, operands, layer)
        return y


NORM_STEPS = [
    "conv", "conv", "batch_norm", "activation", "residual", "residual", "cat", "gate", "pool",
    "operand", "operand", "prelu", "block", "block", "group_norm", "group_norm", "instance_norm",
    "layer_norm", "last_linear", "classify", "pads", "pads", "pad_channels", "shuffle", "reduce",
    "reduce", "lengths",
]  # fmt: skip


def randomise_norms(model: nn.Module, seed: int) -> nn.Module:
    """Draw weights as ``randomise`` does, and those of norms and parameters with zeros too."""
    randomise(model, seed)
    generator = torch.Generator().manual_seed(seed + 1)

    def draw(tensor: Tensor) -> Tensor:
        return torch.rand(tensor.shape, generator=generator)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.InstanceNorm2d):
                if module.weight is not None:
                    module.weight.copy_((draw(module.weight) + 0.5) * (draw(module.weight) > 0.3))
                    module.bias.copy_((draw(module.bias) - 0.5) * (draw(module.bias) > 0.3))
            elif isinstance(module, Parameter):
                module.value.copy_((draw(module.value) - 0.5) * (draw(module.value) > 0.3))
            elif isinstance(module, nn.PReLU):
                module.weight.copy_(draw(module.weight))
    return model
