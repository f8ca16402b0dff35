"""What sparse training leaves behind, from a seed: zero input groups and lived-in statistics."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def randomise_norms(network: nn.Module, seed: int) -> nn.Module:
    """Draw statistics, scales and shifts of all norms, and of layer scales; return in eval mode.

    A trained network has none at 0 and 1, where a compiler's mistakes would not show.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(like: Tensor, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.running_mean.copy_(draw(module.running_mean, -0.5, 0.5))
                module.running_var.copy_(draw(module.running_var, 0.5, 1.5))
            if isinstance(module, (_BatchNorm, nn.LayerNorm)):
                module.weight.copy_(draw(module.weight, 0.5, 1.5))
                module.bias.copy_(draw(module.bias, -0.5, 0.5))
            if isinstance(getattr(module, "layer_scale", None), nn.Parameter):
                module.layer_scale.copy_(draw(module.layer_scale, 0.1, 1.0))
    return network.eval()


def prunable(network: nn.Module, keep: tuple[str, ...] = ()) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers with input groups to lose, in the order in which they were registered.

    Left out: the stem (its input groups are the image's colours), depthwise filters, and layers
    under a name in ``keep``.
    """
    for name, module in network.named_modules():
        if not isinstance(module, LAYERS) or any(
            name == k or name.startswith(f"{k}.") for k in keep
        ):
            continue
        if num_columns(module) > 3 and module.weight.shape[1] > 1:
            yield name, module


def num_columns(layer: nn.Module) -> int:
    """Return how many input groups a layer has."""
    return int(layer.weight.shape[1]) * int(getattr(layer, "groups", 1))


def zero_columns(layer: nn.Module, columns: Tensor) -> None:
    """Set input groups to zero.

    Args:
        layer: Convolution, grouped or not, or linear layer.
        columns: (num_columns,) bool.
    """
    groups = int(getattr(layer, "groups", 1))
    with torch.no_grad():
        weight = layer.weight.view(groups, -1, *layer.weight.shape[1:])  # (G, R, C, ...)
        weight.transpose(1, 2)[columns.view(groups, -1)] = 0


def zero_shares(
    network: nn.Module, share: Callable[[str], float] | Mapping[str, float], seed: int,
    keep: tuple[str, ...] = (),
) -> nn.Module:  # fmt: skip
    """Set in every prunable layer a random share of the input groups to zero, rounded.

    Args:
        network: Changed in place.
        share: Layer name to share.
        seed: For which groups.
        keep: Names of submodules to leave dense.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, layer in prunable(network, keep):
        size = num_columns(layer)
        wanted = share[name] if isinstance(share, Mapping) else share(name)
        columns = torch.zeros(size, dtype=torch.bool)
        columns[torch.randperm(size, generator=generator)[: round(wanted * size)]] = True
        zero_columns(layer, columns)
    return network
