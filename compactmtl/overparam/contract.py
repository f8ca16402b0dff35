"""Back to plain layers: the factors are multiplied out, in float64, and rounded once."""

import copy
from collections import OrderedDict
from typing import TypeVar

from torch import Tensor, nn

from compactmtl.errors import UsageError
from compactmtl.overparam.branched import branched_layers, remove
from compactmtl.overparam.kernel import expanded_layers, factors_of

Network = TypeVar("Network", bound=nn.Module)


def contract(model: Network) -> Network:
    """Make every expanded layer plain again, in place; the state dict has the dense model's keys.

    A copy can be contracted while the original stays expanded, and the other way round. A network
    that is not expanded is returned as it is.

    Returns:
        The same object.

    Raises:
        UsageError: A training_step or task_step of this network is open; or its branches have
            batch norm in train mode.
    """
    for name, layer, factors in list(expanded_layers(model)):
        if factors.leaf is not None:
            raise UsageError(
                f"`{name}` cannot be contracted inside training_step or task_step",
                hint="contract after the block",
            )
        trained = factors.shared_parameters()[0].requires_grad
        _make_plain(layer, nn.Parameter(factors.contracted(), requires_grad=trained))
    for name, branched in list(branched_layers(model)):
        remove(model, name, branched)
    return model


def contracted_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict the contracted network would have; the network stays as it is.

    Raises:
        UsageError: Branches have batch norm in train mode.
    """
    if any(True for _ in branched_layers(model)):
        return contract(copy.deepcopy(model)).state_dict()
    layers = {
        name: factors
        for name, layer in model.named_modules(remove_duplicate=False)
        if (factors := factors_of(layer)) is not None
    }
    contracted: OrderedDict[str, Tensor] = OrderedDict()
    for key, value in model.state_dict().items():
        owner = next((name for name in layers if key.startswith(f"{name}." if name else "")), None)
        if owner is None:
            contracted[key] = value
            continue
        prefix = f"{owner}." if owner else ""
        if f"{prefix}weight" not in contracted:
            contracted[f"{prefix}weight"] = layers[owner].contracted()
        if not key.startswith(f"{prefix}parametrizations.weight."):
            contracted[key] = value
    return contracted


def _make_plain(layer: nn.Module, weight: nn.Parameter) -> None:
    # parametrize.remove_parametrizations is no choice: it deletes the property from the injected
    # class, which a deep copy of the layer shares, and so breaks the copy.
    injected = type(layer)
    del layer.parametrizations["weight"]  # type: ignore[union-attr, operator]
    if len(layer.parametrizations):  # type: ignore[arg-type]
        rest = {key: value for key, value in vars(injected).items() if key != "weight"}
        layer.__class__ = type(injected.__name__, injected.__bases__, rest)
    else:
        del layer.parametrizations
        layer.__class__ = injected.__bases__[0]
    others = dict(layer._parameters)
    layer._parameters.clear()
    layer.register_parameter("weight", weight)  # first, where it stood before `expand`
    layer._parameters.update(others)
