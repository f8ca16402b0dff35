"""Which channels a network needs, found out by putting noise on them, one after the other.

Nothing of the compiler is used, and no rule about ops: the network runs, and either an output moves
or none does. With weights, biases and inputs that are not negative nothing can cancel, so what does
not move is no accident of the numbers. Two things more are left to chance that no network may rely
on: which of equal maxima a pool remembers, and what a value holds that only fills up a layer.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from unittest import mock

import torch
from noise_watch import LAYERS, Call, Watch
from random_grouped_nets import GROUPED_STEPS, RandomGroupedNet, randomise_grouped
from random_nets import SIZE
from torch import Tensor, nn
from torch.nn import functional

MAX_POOL2D = functional.max_pool2d


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


def max_pool2d_anywhere(x: Tensor, *args, **kwargs) -> Tensor | tuple[Tensor, Tensor]:
    """Pool as ``max_pool2d`` does, but of equal maxima remember the place of any one.

    Which one that is, no pool promises. The first of a window lies in its even rows and columns:
    an unpooled constant is 0 in all others, and a convolution that sees only the others (stride 2,
    dilation 2, odd padding) seems not to read it. Here the places differ from window to window, and
    are the same for the whole batch.
    """
    if not kwargs.get("return_indices"):
        return MAX_POOL2D(x, *args, **kwargs)
    generator = torch.Generator().manual_seed(2)  # noise of its own: no channel's disturbance
    drawn = torch.rand(x[:1].shape, generator=generator, dtype=x.dtype)
    _, places = MAX_POOL2D(x + 1e-9 * x.abs().amax().clamp(min=1) * drawn, *args, **kwargs)
    return x.flatten(2).gather(2, places.flatten(2)).view_as(places), places


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

    disturbed, numbers = model, set[int]()
    if read is not None:
        disturbed, numbers = widened(model, read), stored_numbers(model, images)
    needed: dict[Call, Tensor] = {}
    for call, size in num_channels(model, images[0]).items():
        moved = [moved_by(disturbed, image, call, size, fold, numbers) for image in images[:2]]
        needed[call] = torch.stack(moved).any(0)
    return needed


def stored_numbers(model: nn.Module, images: Sequence[Tensor]) -> set[int]:
    """Return the ops in whose place one number per channel does as well, for all inputs and sizes.

    The network stores these numbers, then, and computes nothing for them: not even what would fill
    up layers of equal groups, which may hold any number.
    """
    numbers: list[Tensor] = []

    def note(op: int, y: Tensor) -> Tensor:
        numbers.append(y[0].reshape(y.shape[1], -1)[:, 0])
        return y

    def store(op: int, y: Tensor) -> Tensor:
        if len(y) > 1:
            y = y.clone()
            y[op + 1] = numbers[op].reshape(-1, *[1] * (y.ndim - 2))
        return y

    with mock.patch.object(functional, "max_pool2d", max_pool2d_anywhere):
        Watch(model, on_value=note).run(images[0])
        moved = torch.zeros(len(numbers), dtype=torch.bool)
        for image in (images[0], images[-1]):
            batch = image.expand(len(numbers) + 1, *image.shape[1:])
            for y in Watch(model, on_value=store).run(batch):
                moved |= differs(y)
    return set((~moved).nonzero().flatten().tolist())


def differs(y: Tensor) -> Tensor:
    """Return which images of a batch, from 1 on, are not as image 0 is (bool)."""
    return (y[1:] - y[:1]).abs().flatten(1).amax(1) > 1e-12 * y.abs().amax()


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
    fold: Callable[[Call, nn.Module, Tensor], Tensor], numbers: set[int],
) -> Tensor:  # fmt: skip
    """Return for which channels noise on this output of a layer moves an output of the network.

    Image 0 of the batch goes without noise, image c + 1 with noise on channel c, and what the ops
    return that are ``numbers`` is the same for all.
    """
    generator = torch.Generator().manual_seed(0)

    def disturb(at: Call, y: Tensor) -> Tensor:
        if at == call:
            y = y.clone()
            for channel in range(size):
                noise = torch.rand(y[0, 0].shape, generator=generator, dtype=y.dtype)
                y[channel + 1, channel] += 0.1 + noise
        return y

    def store(op: int, y: Tensor) -> Tensor:
        return y[:1].expand_as(y).clone() if op in numbers else y

    batch = image.expand(size + 1, *image.shape[1:])
    with mock.patch.object(functional, "max_pool2d", max_pool2d_anywhere):
        watch = Watch(model, on_input=fold, on_output=disturb, on_value=store if numbers else None)
        outputs = watch.run(batch)
    return torch.stack([differs(y) for y in outputs]).any(0)


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
