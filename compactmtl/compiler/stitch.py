"""Put the compact part of a network into the network."""

import inspect
from typing import Any, TypeVar

from torch import nn

from compactmtl.compact import CompactModel
from compactmtl.errors import UsageError
from compactmtl.parts import nearest

Network = TypeVar("Network", bound=nn.Module)


def stitch(model: Network, compact: CompactModel) -> Network:
    """Replace the part that ``compact`` was compiled from by ``compact.module``, in place.

    Args:
        model: The whole network; where the part stands under several names, all are replaced.
        compact: What ``compress(model, ..., part="encoder")`` returned or wrote.

    Returns:
        The same object.

    Raises:
        UsageError: ``compact`` is a whole network, or the model has no such part.
    """
    name = compact.manifest.part
    if not name:
        raise UsageError(
            "this compact model is a whole network, expected one of a part",
            hint='compile a part: compress(model, example_inputs, part="encoder")',
        )
    modules = dict(model.named_modules(remove_duplicate=False))
    if name not in modules:
        raise UsageError(
            f"{type(model).__name__} has no part called `{name}`{nearest(name, modules)}",
            hint="stitch into the network that the part was compiled from",
        )
    old, new = modules[name], compact.module
    signature = inspect.signature(old.forward)

    def by_position(
        _part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return signature.bind(*args, **kwargs).args, {}

    # The graph takes its inputs by position; the network may give them by name.
    new.register_forward_pre_hook(by_position, with_kwargs=True)
    new.train(old.training)
    for owner in modules.values():
        for key, child in owner._modules.items():
            if child is old:
                owner._modules[key] = new
    return model
