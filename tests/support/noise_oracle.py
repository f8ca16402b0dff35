"""Which channels a network needs, found out by putting noise on them, one after the other.

Nothing of the compiler is used, and no rule about ops: the network runs, and either an output moves
or none does. With weights, biases and inputs that are not negative nothing can cancel, so what does
not move is no accident of the numbers.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from unittest import mock

import torch
from random_grouped_nets import GROUPED_STEPS, RandomGroupedNet, randomise_grouped
from random_nets import SIZE
from torch import Tensor, nn
from torch.nn import functional

MAX_POOL2D = functional.max_pool2d
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
Call = tuple[str, int]
"""A layer's name, and its how manieth call."""


class PositiveNet(RandomGroupedNet):
    """A random network of ops that are monotone where nothing is negative, and that have rules.

    Unpooling comes once at most, and without gates: no noise on a gate moves the place of a maximum
    that it scales, and pooling again finds the maxima of a constant where unpooling put them.
    """

    def kinds(self) -> list[str]:
        unpooled = any(kind == "unpool" for kind, _, _ in self.steps)
        left_out = {"unknown", "shared", "unpool"}
        if self.unpools:
            left_out = {"unknown", "shared", "gate", "linear"} | (
                {"unpool", "pool"} if unpooled else set()
            )
        return [kind for kind in GROUPED_STEPS if kind not in left_out]

    def __init__(self, seed: int, num_steps: int) -> None:
        self.unpools = seed % 2 == 1
        super().__init__(seed, num_steps)

    def activation(self) -> None:
        source = self._pick()
        layer = self.rng.choice([
            nn.ReLU(), nn.SiLU(), nn.Hardswish(), nn.Dropout(0.3), nn.LeakyReLU(0.2), nn.GELU(),
            nn.Sigmoid(),
        ])  # fmt: skip
        self._step("layer", (source,), self.shapes[source], layer)

    def arithmetic(self) -> None:
        source = self._pick()
        self._step("plus", (source,), self.shapes[source])

    def residual(self) -> None:
        source = self._pick()
        same = [i for i, shape in enumerate(self.shapes) if i and shape == self.shapes[source]]
        self._step(
            self.rng.choice(["add", "add_", "mul"]), (source, self.rng.choice(same)),
            self.shapes[source],
        )  # fmt: skip

    def inverted(self) -> None:
        source = self._pick()
        channels, side = self.shapes[source]
        layer = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1), nn.BatchNorm2d(2 * channels), nn.ReLU(),
            nn.Conv2d(2 * channels, 2 * channels, groups=2 * channels, **self._border()),
            nn.BatchNorm2d(2 * channels), nn.Hardswish(), nn.Conv2d(2 * channels, channels, 1),
        )  # fmt: skip
        self._step("branch", (source,), (channels, side), layer)


def positive_net(seed: int, num_steps: int = 10) -> nn.Module:
    """Return a random network without a negative number: float64, eval mode, values of order 1."""
    model = randomise_grouped(PositiveNet(seed, num_steps), seed).double()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.abs_().neg_()
                module.bias.abs_()
            elif isinstance(module, LAYERS):
                module.weight.abs_().mul_(2 / module.weight[0].numel() ** 0.5)
                if module.bias is not None:
                    module.bias.abs_()
    return model


@dataclass
class Watch:
    """Runs a network and lets a function see, and replace, what its layers read and make.

    Attributes:
        model: The network.
        on_input: Called with (layer call, module, input); returns the input to use.
        on_output: Called with (layer call, output); returns the output to use.
    """

    model: nn.Module
    on_input: Callable[[Call, nn.Module, Tensor], Tensor] = lambda call, module, x: x
    on_output: Callable[[Call, Tensor], Tensor] = lambda call, y: y
    _calls: Counter[str] = field(default_factory=Counter)

    def run(self, image: Tensor) -> list[Tensor]:
        """Return the outputs."""
        self._calls.clear()
        handles = []
        for name, module in self.model.named_modules():
            if isinstance(module, LAYERS):
                handles.append(module.register_forward_pre_hook(self._before(name)))
                handles.append(module.register_forward_hook(self._behind(name)))
        try:
            with torch.no_grad():
                return list(self.model(image).values())
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, name: str):
        def hook(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            return (self.on_input((name, self._calls[name]), module, args[0].clone()),)

        return hook

    def _behind(self, name: str):
        def hook(module: nn.Module, args: tuple[Tensor], y: Tensor) -> Tensor:
            call = (name, self._calls[name])
            self._calls[name] += 1
            return self.on_output(call, y)

        return hook


def constant_inputs(model: nn.Module, images: Iterable[Tensor]) -> dict[Call, Tensor]:
    """Return per call of a layer its input channels' constants, NaN where they vary.

    A constant is one number for all images, positions and sizes, and whichever place a pool takes:
    where nothing is negative, the maximum of a constant and of its border, which is smaller, is the
    constant by coincidence, so pools take minima, too.
    """
    low: dict[Call, Tensor] = {}
    high: dict[Call, Tensor] = {}

    def note(call: Call, module: nn.Module, x: Tensor) -> Tensor:
        flat = x.transpose(0, 1).flatten(1)
        least, most = flat.amin(1), flat.amax(1)
        low[call] = torch.minimum(low.get(call, least), least)
        high[call] = torch.maximum(high.get(call, most), most)
        return x

    for image in images:
        Watch(model, on_input=note).run(image)
        with mock.patch.object(functional, "max_pool2d", min_pool2d):
            Watch(model, on_input=note).run(image)
    varies = {call: high[call] - low[call] > 1e-12 * high[call].abs() for call in low}
    return {
        call: torch.where(varies[call], torch.nan, torch.where(value < 1e-13, 0.0, value))
        for call, value in high.items()
    }


def min_pool2d(x: Tensor, *args, **kwargs) -> Tensor | tuple[Tensor, Tensor]:
    """Pool as ``max_pool2d`` does, but take minima."""
    result = MAX_POOL2D(-x, *args, **kwargs)
    return (-result[0], result[1]) if isinstance(result, tuple) else -result


def varying_outputs(model: nn.Module, images: Sequence[Tensor]) -> dict[Call, Tensor]:
    """Return per call of a layer which of its output channels are no constants (bool)."""
    seen: dict[Call, list[Tensor]] = {}

    def note(call: Call, y: Tensor) -> Tensor:
        seen.setdefault(call, []).append(y.transpose(0, 1).flatten(1))
        return y

    for image in images:
        Watch(model, on_output=note).run(image)
    values = {call: torch.cat(parts, 1) for call, parts in seen.items()}
    return {c: v.amax(1) - v.amin(1) > 1e-12 * v.abs().amax(1) for c, v in values.items()}


def folds(module: nn.Module) -> bool:
    """Tell whether a layer sees a constant as the same number everywhere: it has no border."""
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and set(module.padding) == {0}
    )


def needed_channels(
    model: nn.Module,
    images: Sequence[Tensor],
    carriers: dict[str, list[int]],
    read: dict[Call, list[int]] | None = None,
) -> dict[Call, Tensor]:
    """Return per call of a layer which of its output channels the outputs depend on (bool).

    A layer need not read a constant that it can fold: into its bias, or where it pads with zeros,
    into the ``carriers`` (layer to input channels). A depthwise layer that pads can fold only 0.

    Args:
        model: A network that is nowhere negative.
        images: (1, ...) each.
        carriers: Exceptions to what is folded.
        read: Columns that grouped convolutions read: taken as needed, whatever their weights.
    """
    constants = constant_inputs(model, images)

    def fold(call: Call, module: nn.Module, x: Tensor) -> Tensor:
        folded = foldable(module, constants[call])
        folded[carriers.get(call[0], [])] = False
        if read is not None and has_fillers(module, read.get(call, [])):
            folded[read[call]] = False
        x[:, folded] = x[:1, folded]
        return x

    disturbed = model if read is None else widened(model, read)
    needed: dict[Call, Tensor] = {}
    for call, size in num_channels(model, images[0]).items():
        moved = [moved_by(disturbed, image, call, size, fold) for image in images[:2]]
        needed[call] = torch.stack(moved).any(0)
    return needed


def foldable(module: nn.Module, constants: Tensor) -> Tensor:
    """Return which input channels a layer need not read because they are constant."""
    is_depthwise = getattr(module, "groups", 1) == constants.numel() > 1
    return constants == 0 if is_depthwise and not folds(module) else ~constants.isnan()


def has_fillers(module: nn.Module, columns: list[int]) -> bool:
    """Tell whether a layer may have to read columns that are zero."""
    return bool(columns) and (getattr(module, "groups", 1) > 1 or len(columns) == 1)


def widened(model: nn.Module, read: dict[Call, list[int]]) -> nn.Module:
    """Return the network without zeros: what is stored for the sake of its place matters there.

    All columns that grouped convolutions read have weights, and the only column of a layer; every
    scale and every bias is positive, so that also what is scaled by 0, or multiplied by a constant
    0, moves the product.
    """
    wide = copy.deepcopy(model)
    with torch.no_grad():
        for (name, _), columns in read.items():
            module = wide.get_submodule(name)
            if has_fillers(module, columns):
                weight = module.weight
                if isinstance(module, nn.ConvTranspose2d):
                    weight = weight.transpose(0, 1)
                groups = getattr(module, "groups", 1)
                chosen = torch.zeros(groups * weight.shape[1], dtype=torch.bool)
                chosen[columns] = True
                kernels = weight.unflatten(0, (groups, -1))
                kernels.transpose(1, 2)[by_group(chosen, groups)] += 0.1
        for module in wide.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight += 0.1
                module.bias += 0.1
            elif isinstance(module, LAYERS):
                rows = getattr(module, "out_channels", None) or module.out_features
                bias = torch.zeros(rows).double() if module.bias is None else module.bias
                module.bias = nn.Parameter(bias + 0.1)
    return wide


def by_group(channels: Tensor, groups: int) -> Tensor:
    """Return (C,) as (groups, C / groups)."""
    return channels.reshape(groups, -1)


def used_columns(
    model: nn.Module, images: Sequence[Tensor], call: Call, rows: set[int],
    carriers: dict[str, list[int]],
) -> Tensor:  # fmt: skip
    """Return which columns (groups, C / groups) some of the rows of a call must read."""
    module = model.get_submodule(call[0])
    groups = getattr(module, "groups", 1)
    weight = module.weight
    if isinstance(module, nn.ConvTranspose2d):
        weight = weight.transpose(0, 1)
    pattern = weight.reshape(groups, -1, weight.shape[1], weight[0, 0].numel()).any(3)
    chosen = torch.zeros(pattern.shape[0] * pattern.shape[1], dtype=torch.bool)
    chosen[sorted(rows)] = True
    varies = ~foldable(module, constant_inputs(model, images)[call])
    varies[carriers.get(call[0], [])] = True
    used = (pattern & by_group(chosen, groups)[:, :, None]).any(1)
    return used & by_group(varies, groups)


def moved_by(
    model: nn.Module, image: Tensor, call: Call, size: int,
    fold: Callable[[Call, nn.Module, Tensor], Tensor],
) -> Tensor:  # fmt: skip
    """Return for which channels noise on this output of a layer moves an output of the network.

    Image 0 of the batch goes without noise, image c + 1 with noise on channel c.
    """
    generator = torch.Generator().manual_seed(0)

    def disturb(at: Call, y: Tensor) -> Tensor:
        if at == call:
            y = y.clone()
            for channel in range(size):
                noise = torch.rand(y[0, 0].shape, generator=generator, dtype=y.dtype)
                y[channel + 1, channel] += 0.1 + noise
        return y

    batch = image.expand(size + 1, *image.shape[1:])
    outputs = Watch(model, on_input=fold, on_output=disturb).run(batch)
    moves = [(y[1:] - y[:1]).abs().flatten(1).amax(1) > 1e-12 * y.abs().amax() for y in outputs]
    return torch.stack(moves).any(0)


def num_channels(model: nn.Module, image: Tensor) -> dict[Call, int]:
    """Return how many channels every call of a layer makes."""
    sizes: dict[Call, int] = {}

    def note(call: Call, y: Tensor) -> Tensor:
        sizes[call] = y.shape[1]
        return y

    Watch(model, on_output=note).run(image)
    return sizes


def images_for(model: nn.Module) -> list[Tensor]:
    """Return three random images, and one of another size where the network takes it."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(1, 3, s, s, generator=generator).double() for s in 3 * [SIZE] + [SIZE + 8]]
    try:
        copy.deepcopy(model)(images[-1])
    except RuntimeError:  # what was added up at one size differs in size at another
        images.pop()
    return images
