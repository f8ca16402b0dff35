"""Note the first layer that an input does not fit: what it expects and what it got."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


@contextmanager
def noting_misfits(model: nn.Module) -> Iterator[list[str]]:
    """Note, while a network runs, which convolutions and linear layers their inputs do not fit.

    Yields:
        A list that fills with sentences; the first tells most. A layer that is given another type
        of numbers may run all the same, so look only where the network fails.
    """
    found: list[str] = []
    handles = [
        module.register_forward_pre_hook(_check(name, module, found))
        for name, module in model.named_modules()
        if isinstance(module, (_ConvNd, nn.Linear))
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _check(name: str, layer: _ConvNd | nn.Linear, found: list[str]) -> Any:
    expected = layer.in_channels if isinstance(layer, _ConvNd) else layer.in_features
    dtype = layer.weight.dtype
    num_spatial = layer.weight.ndim - 2 if isinstance(layer, _ConvNd) else 0

    def check(_layer: nn.Module, args: tuple[Any, ...]) -> None:
        value = args[0] if args else None
        if not isinstance(value, Tensor):
            return
        axis = value.ndim - 1 - num_spatial  # convolutions take single images, too
        channels = value.shape[axis] if axis >= 0 else None
        if channels != expected or value.dtype != dtype:
            found.append(
                f"`{name}` expects {expected} channels of {_word(dtype)}, got "
                f"{'none' if channels is None else channels} of {_word(value.dtype)} "
                f"(shape {tuple(value.shape)})"
            )

    return check


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
