"""Run a network and see, or replace, what its layers read and make and what its ops return."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
Call = tuple[str, int]
"""A layer's name, and its how manieth call."""
COPIES = frozenset({"channel_shuffle", "contiguous", "reshape", "flatten"})
"""What returns the numbers of its input in another order, sometimes as a copy."""


@dataclass
class Watch:
    """Runs a network and lets a function see, and replace, what its layers read and make.

    Attributes:
        model: The network.
        on_input: Called with (layer call, module, input); returns the input to use.
        on_output: Called with (layer call, output); returns the output to use.
        on_value: Called with (op's number, result), for a layer before ``on_output``; returns the
            result to use. Ops that only look at their input otherwise have no number.
    """

    model: nn.Module
    on_input: Callable[[Call, nn.Module, Tensor], Tensor] = lambda call, module, x: x
    on_output: Callable[[Call, Tensor], Tensor] = lambda call, y: y
    on_value: Callable[[int, Tensor], Tensor] | None = None
    _calls: Counter[str] = field(default_factory=Counter)
    _ops: "Ops | None" = None

    def run(self, image: Tensor) -> list[Tensor]:
        """Return the outputs."""
        self._calls.clear()
        self._ops = None if self.on_value is None else Ops(self.on_value)
        handles: list[RemovableHandle] = []
        for name, module in self.model.named_modules():
            if isinstance(module, LAYERS):
                handles.append(module.register_forward_pre_hook(self._before(name)))
                handles.append(module.register_forward_hook(self._behind(name)))
        try:
            with torch.no_grad(), ExitStack() as stack:
                if self._ops is not None:
                    stack.enter_context(self._ops)
                return list(self.model(image).values())
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, name: str):
        def hook(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            with unseen(self._ops):
                return (self.on_input((name, self._calls[name]), module, args[0].clone()),)

        return hook

    def _behind(self, name: str):
        def hook(module: nn.Module, args: tuple[Tensor], y: Tensor) -> Tensor:
            call = (name, self._calls[name])
            self._calls[name] += 1
            with unseen(self._ops):
                return self.on_output(call, y)

        return hook


class Ops(TorchFunctionMode):
    """Numbers the ops that compute something, and hands on what they return."""

    def __init__(self, on_value: Callable[[int, Tensor], Tensor]) -> None:
        super().__init__()
        self.on_value = on_value
        self.count = 0
        self.is_paused = False

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Run an op; the ops that it is made of are not seen."""
        y = function(*args, **(kwargs or {}))
        if self.is_paused or function.__name__ in COPIES or not computes(y, args):
            return y
        self.count += 1
        return self.on_value(self.count - 1, y)


def computes(y: object, args: tuple[object, ...]) -> bool:
    """Tell whether an op returns numbers with channels that are not its input's, seen otherwise."""
    if not isinstance(y, Tensor) or not y.is_floating_point() or y.ndim < 2:
        return False
    memory = y.untyped_storage().data_ptr()
    inputs = [x for x in args if isinstance(x, Tensor)]
    in_place = any(x is y for x in inputs)
    return in_place or all(x.untyped_storage().data_ptr() != memory for x in inputs)


@contextmanager
def unseen(ops: Ops | None):
    """Let ops run without a number."""
    if ops is not None:
        ops.is_paused = True
    yield
    if ops is not None:
        ops.is_paused = False
