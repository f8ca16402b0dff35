"""How few MACs a sparse network could do with: the coupled and the gather bound.

Nothing of the compiler is used. The network itself runs once under a mode that replaces every
operation by a *positive linear surrogate* in float64: weights by 1 where they are not 0, biases by
0, activations by the identity, gates (products of two activations) by sums, max-pooling by average
pooling, unpooling by spreading, layer norm by adding the mean. No term can cancel another then, so

- an activation is 0 exactly where no path from the input leads to: the channel is *constant*;
- its gradient is 0 exactly where no path leads to an output: the channel is *dead*.

What is counted, at batch 1, per convolution and linear layer, group by group:
positions * taps * rows * columns, where a row counts if it varies and an output depends on it, and

- *coupled*: a column counts if the value that is read varies in this channel and some output
  depends on this channel of this value, through whichever reader. No gather is needed for that,
  but the values of a residual stream may differ in the channels they keep. A concatenation is the
  values it was made of: what one of them must keep, all concatenations of it keep.
- *gather*: a column counts if it varies and a row that counts has a weight there.

So neither bound knows that constants at a zero-padded border need one more channel (a carrier):
``fitted`` adds these. Groups of a grouped convolution may be left with unequal numbers. What
multiplies a zero *filter* is no MAC; single zero weights are. A product with the constant 0 counts
as varying, which is too much.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

IDENTITY = frozenset({
    "relu", "relu6", "hardtanh", "sigmoid", "hardsigmoid", "hardswish", "silu",
    "gelu", "dropout", "dropout2d", "stochastic_depth", "leaky_relu",
})  # fmt: skip
LINEAR = frozenset({
    "add", "chunk", "split", "view", "reshape", "flatten", "permute", "transpose", "mean",
    "adaptive_avg_pool2d", "avg_pool2d", "interpolate", "get", "size", "dim", "getitem",
    "contiguous",
})  # fmt: skip
"""Positive linear already, or about shapes only."""


@dataclass(frozen=True)
class LayerBound:
    """What one layer must compute and read.

    Attributes:
        name: Of the module.
        source: The layer whose output it reads, with nothing but channelwise ops of one input
            between; "" where there is no such layer.
        taps: Kernel positions.
        positions: Output positions.
        rows: (G, R) bool, the output channels that count.
        gathered: (G, C) bool, the columns of the gather bound.
        coupled: (G, C) bool, the columns of the coupled bound.
    """

    name: str
    source: str
    taps: int
    positions: int
    rows: Tensor
    gathered: Tensor
    coupled: Tensor

    def macs(self, columns: Tensor) -> int:
        """Return the MACs with these columns (G, C)."""
        pairs = int((self.rows.sum(1) * columns.sum(1)).sum())
        return self.taps * self.positions * pairs

    def sizes(self) -> tuple[Tensor, Tensor]:
        """Return rows and columns (G,) of each group; one with a row has something to convolve."""
        rows = self.rows.sum(1)
        return rows, torch.maximum(self.gathered.sum(1), rows.clamp(max=1))


@dataclass(frozen=True)
class Bounds:
    """Both bounds of a network, and what they consist of, in the order of the calls."""

    coupled: int
    gather: int
    layers: tuple[LayerBound, ...]


def bounds(network: nn.Module, inputs: Tensor | Sequence[Tensor]) -> Bounds:
    """Compute both bounds.

    Args:
        network: In eval mode; not changed.
        inputs: What it is called with; MACs are for their size and batch 1.

    Raises:
        ValueError: The network uses an operation without a surrogate.
    """
    images = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    ones = [torch.ones_like(image[:1], dtype=torch.float64).requires_grad_() for image in images]
    with Surrogate(network) as surrogate:
        outputs = network(*ones)
    torch.autograd.backward([Rescale.apply(output).sum() for output in leaves(outputs)])
    layers = tuple(call.bound() for call in surrogate.calls)
    return Bounds(
        coupled=sum(layer.macs(layer.coupled) for layer in layers),
        gather=sum(layer.macs(layer.gathered) for layer in layers),
        layers=layers,
    )


def fitted(
    found: Bounds, carriers: Sequence[tuple[str, int]] = ()
) -> dict[str, tuple[int, int, int]]:
    """Return per layer rows, columns and MACs of the gather bound with what cannot be avoided.

    That is: one column per group that is left, so that there is something to convolve; and one
    column per carrier, which the layer before makes too.

    Args:
        found: The bounds of a network in which every layer is called once, and in which no layer
            that reads more than the bound stands right behind a grouped one.
        carriers: Layers that need one, and the input channel that it is.
    """
    sizes = {layer.name: layer.sizes() for layer in found.layers}
    widths = {layer.name: layer.gathered.shape[1] for layer in found.layers}
    for name, channel in carriers:
        sizes[name][1][channel // widths[name]] += 1
    for layer in found.layers:
        made = sizes[layer.name][1].sum() - layer.gathered.sum()
        if layer.source and made:
            rows, _ = sizes[layer.source]
            assert len(rows) == 1, f"{layer.source} makes {made} channels more, in which group?"
            rows += made
    return {
        layer.name: (
            int(rows.sum()),
            int(columns.sum()),
            layer.taps * layer.positions * int((rows * columns).sum()),
        )
        for layer in found.layers
        for rows, columns in [sizes[layer.name]]
    }


@dataclass(frozen=True)
class Call:
    """One call of a layer in the surrogate: what it reads and makes, channels on ``axis``.

    ``stored`` tells after the backward pass which channels of x somebody reads.
    """

    name: str
    source: str
    groups: int
    pattern: Tensor
    x: Tensor
    y: Tensor
    axis: int
    stored: Callable[[], Tensor]

    def bound(self) -> LayerBound:
        """Read values and gradients after the backward pass."""
        varies = channels(self.x, self.axis)
        rows = channels(self.y, self.axis) & channels(self.y.grad, self.axis)
        coupled = varies & self.stored()
        rows, coupled = rows.view(self.groups, -1), coupled.view(self.groups, -1)
        taps = self.pattern[0, 0].numel()
        weights = self.pattern.reshape(self.groups, rows.shape[1], coupled.shape[1], -1).any(3)
        used = (weights & rows[:, :, None]).any(1)
        return LayerBound(
            name=self.name,
            source=self.source,
            taps=taps,
            positions=self.y.numel() // rows.numel(),
            rows=rows,
            gathered=used & varies.view(self.groups, -1),
            coupled=coupled,
        )


def channels(value: Tensor | None, axis: int) -> Tensor:
    """Return per channel whether a tensor holds anything but 0."""
    assert value is not None
    return (value.detach().movedim(axis, 0).flatten(1) != 0).any(1)


def leaves(outputs: Any) -> list[Tensor]:
    """Return the tensors of a network's outputs."""
    if isinstance(outputs, Tensor):
        return [outputs]
    parts = outputs.values() if isinstance(outputs, Mapping) else outputs
    return [tensor for part in parts for tensor in leaves(part)]


class Rescale(torch.autograd.Function):
    """Bring the largest number to 1, forwards and backwards: only zero or not is of interest."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Rescale a value."""
        return x / x.amax().clamp_min(torch.finfo(x.dtype).tiny)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Rescale a gradient."""
        return gradient / gradient.amax().clamp_min(torch.finfo(gradient.dtype).tiny)


class Surrogate(TorchFunctionMode):
    """Runs a network as its positive linear surrogate and notes every call of a layer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._parts: dict[int, tuple[Tensor, Sequence[Tensor]]] = {}
        self._names = {id(p): name.rpartition(".")[0] for name, p in network.named_parameters()}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = func.__name__.strip("_")
        if name == "iadd":
            return args[0] + args[1]
        if name in IDENTITY:
            return args[0] if args else kwargs["input"]
        if name in LINEAR:
            return func(*args, **kwargs)
        replacement = getattr(self, f"on_{name}", None)
        if replacement is None:
            raise ValueError(f"no positive linear surrogate for `{func.__name__}`")
        return replacement(*args, **kwargs)

    def on_conv2d(self, x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any,
                  dilation: Any, groups: int) -> Tensor:  # fmt: skip
        """Convolve with 1 where the weight is not 0."""
        pattern = weight.detach() != 0
        y = F.conv2d(x, pattern.double(), None, stride, padding, dilation, groups)
        return self._note(weight, groups, pattern, x, y, axis=1)

    def on_linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Multiply by 1 where the weight is not 0."""
        pattern = weight.detach() != 0
        y = F.linear(x, pattern.double())
        return self._note(weight, 1, pattern, x, y, axis=x.ndim - 1)

    def _note(
        self, weight: Tensor, groups: int, pattern: Tensor, x: Tensor, y: Tensor, *, axis: int
    ) -> Tensor:
        y = Rescale.apply(y)
        for value in (x, y):
            value.retain_grad()
        name = self._names[id(weight)]
        source = next((call.name for call in self.calls if call.y is x), "")
        stored = partial(self._stored, x, axis)
        self.calls.append(Call(name, source, groups, pattern, x, y, axis, stored))
        return y

    def _stored(self, value: Tensor, axis: int) -> Tensor:
        """Return which channels of a value, or of those it is made of, somebody reads."""
        if id(value) in self._parts:
            parts = self._parts[id(value)][1]
            return torch.cat([self._stored(part, axis) for part in parts])
        return channels(value.grad, axis)

    def on_cat(self, values: Sequence[Tensor], dim: int = 0) -> Tensor:
        """Remember what it is made of."""
        y = torch.cat(values, dim)
        for value in values:
            value.retain_grad()
        self._parts[id(y)] = (y, tuple(values))  # holds y, so that its id stays its own
        return y

    def on_batch_norm(self, x: Tensor, *_: Any, weight: Tensor, **__: Any) -> Tensor:
        """Keep what the scale does not set to 0."""
        kept = weight.detach() != 0
        return x if kept.all() else x * kept.double().view(-1, *[1] * (x.ndim - 2))

    def on_layer_norm(self, x: Tensor, shape: Sequence[int], *, weight: Tensor, **_: Any) -> Tensor:
        """Let every channel depend on all."""
        mixed = x + x.mean(tuple(range(-len(shape), 0)), keepdim=True)
        return mixed * (weight.detach() != 0).double()

    def on_mul(self, first: Any, second: Any) -> Any:
        """Add two activations; keep what a parameter or number does not set to 0."""
        if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
            if isinstance(first, Tensor):
                return first if second else 0 * first
            return self.on_mul(second, first) if isinstance(second, Tensor) else first * second
        for value, other in ((first, second), (second, first)):
            if id(other) in self._names:
                return value * (other.detach() != 0).double()
        return first + second

    def on_max_pool2d(self, x: Tensor, size: Any, stride: Any = None, padding: Any = 0,
                      dilation: Any = 1, ceil_mode: bool = False,
                      return_indices: bool = False) -> Any:  # fmt: skip
        """Average; the positions of the maxima depend on what the maxima depend on."""
        y = F.avg_pool2d(x, size, stride, padding, ceil_mode)
        return (y, y) if return_indices else y

    def on_max_pool2d_with_indices(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """As ``on_max_pool2d``."""
        kwargs["return_indices"] = True
        y, positions = self.on_max_pool2d(*args, **kwargs)
        return y, positions

    def on_max_unpool2d(self, x: Tensor, positions: Tensor, size: Any, stride: Any = None,
                        padding: Any = 0, output_size: Any = None) -> Tensor:  # fmt: skip
        """Spread, values and positions alike."""
        return F.interpolate(x + positions, size=tuple(output_size)[-2:], mode="nearest")
