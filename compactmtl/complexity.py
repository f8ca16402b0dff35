"""What a network costs, counted on a real forward pass: MACs, parameters, bytes of weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class LayerCost:
    """The cost of one weighted operation (convolution, linear, matrix product).

    Attributes:
        name: Of the layer, see ``layer_name``; ``kind`` where no parameter takes part.
        kind: The ATen operation, as in ``convolution``.
        macs: Multiply-accumulates.
        num_params: Elements of the weight and bias that it reads.
    """

    name: str
    kind: str
    macs: int
    num_params: int


@dataclass(frozen=True)
class Complexity:
    """The cost of a network at one input shape.

    Attributes:
        macs: Multiply-accumulates of convolutions, linear layers and matrix products; FLOPs are
            twice as many. Padding counts as if it were data, as everywhere in this field.
        num_params: Elements of all parameters; a tied one counts once.
        weights_bytes: Bytes of all parameters and floating-point buffers, tied ones once.
        layers: The weighted operations in the order in which they ran.
    """

    macs: int
    num_params: int
    weights_bytes: int
    layers: tuple[LayerCost, ...]


def layer_name(weight: str) -> str:
    """Return ``encoder.conv`` for ``encoder.conv.weight``; others go by their own name."""
    owner, _, leaf = weight.rpartition(".")
    return owner if owner and leaf in ("weight", "bias") else weight


def count(module: nn.Module, example_inputs: Tensor | Sequence[Tensor]) -> Complexity:
    """Count the cost of a module or graph module by running it once, without gradients.

    Args:
        module: Any module, in the mode it is to be counted in; it is not changed, provided that
            its forward pass does not change it (eval mode).
        example_inputs: What the module is called with; the counts are for these shapes.

    Source: the formulas are those of ``torch.utils.flop_counter`` (FLOPs), halved.
    """
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    recorder = _Recorder(module)
    with torch.no_grad(), recorder:
        module(*inputs)
    parameters = list(module.parameters())  # named once even if tied
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    return Complexity(
        macs=sum(layer.macs for layer in recorder.layers),
        num_params=sum(parameter.numel() for parameter in parameters),
        weights_bytes=sum(t.numel() * t.element_size() for t in (*parameters, *buffers)),
        layers=tuple(recorder.layers),
    )


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every ATen operation and notes the cost of the weighted ones."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[LayerCost] = []
        self._names = {
            _place(tensor): name
            for name, tensor in (*module.named_parameters(), *module.named_buffers())
            if tensor.numel()
        }

    def __torch_dispatch__(
        self,
        func: OpOverload[..., Any],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        formula: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
        if formula is not None:
            tensors = [arg for arg in args if isinstance(arg, Tensor)]
            known = [tensor for tensor in tensors if _place(tensor) in self._names]
            known.sort(key=lambda tensor: -tensor.ndim)  # the weight says whose layer it is
            kind = func._overloadpacket.__name__
            self.layers.append(
                LayerCost(
                    name=layer_name(self._names[_place(known[0])]) if known else kind,
                    kind=kind,
                    macs=int(formula(*args, **(kwargs or {}), out_val=result)) // 2,
                    num_params=sum(t.numel() for t in known),
                )
            )
        return result


def _place(tensor: Tensor) -> tuple[int, int]:
    """Return where a tensor lies in memory; a transposed view of it lies there too."""
    return tensor.untyped_storage().data_ptr(), int(tensor.storage_offset())
