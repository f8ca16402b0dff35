"""Torch-Pruning, driven carefully on a network with zero input groups.

Torch-Pruning removes what it is told to and everything that is coupled to it; it has no function
that takes zero groups. This driver asks its dependency graph for every group of coupled layers and
removes a channel only if *all* convolutions and linear layers of the group that read it have a zero
column there, so that it never removes on purpose what matters. It goes on until nothing is left to
remove: what was removed sets free what only that read.

With ``guards``, groups are left alone that hold a layer norm (whose mean runs over all channels), a
grouped convolution that is not depthwise (whose groups would become uneven), or, in a network with
unpooling, a max-pool or its inverse (the positions of the maxima couple the two).
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.dependency import Group

LAYERS = (nn.Conv2d, nn.Linear)
READS = (tp.prune_conv_in_channels, tp.prune_linear_in_channels)


def prune(network: nn.Module, image: Tensor, *, guards: bool = False, rounds: int = 50) -> int:
    """Remove what can be removed, in place; return how many channels of groups went.

    Args:
        network: In eval mode.
        image: An example input.
        guards: Leave groups alone that are known to go wrong.
        rounds: At most so many passes over all groups.

    Raises:
        Exception: Whatever Torch-Pruning, or the network behind it, raises.
    """
    removed = 0
    for _ in range(rounds):
        graph = tp.DependencyGraph()
        graph.build_dependency(network, (image,), verbose=False)
        found = sum(shrink(graph, layer, guards=guards) for layer in list(layers(network)))
        if not found:
            break
        removed += found
    network(image)
    return removed


def layers(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers that make channels."""
    yield from (module for module in network.modules() if isinstance(module, LAYERS))


def shrink(graph: Any, layer: nn.Module, *, guards: bool) -> int:
    """Remove the dead channels of one group; return how many."""
    make = tp.prune_linear_out_channels if isinstance(layer, nn.Linear) else conv_out(layer)
    size = layer.weight.shape[0]
    group = graph.get_pruning_group(layer, make, idxs=list(range(size)))
    if guards and any(is_risky(item.dep.target, unpools=unpools(graph)) for item in group):
        return 0
    dead = dead_channels(group, size)
    if len(dead) == size:
        dead = dead[1:]  # a layer without channels would be no layer
    if not dead:
        return 0
    group = graph.get_pruning_group(layer, make, idxs=dead)
    if not graph.check_pruning_group(group):
        return 0
    group.prune()
    return len(dead)


def conv_out(layer: nn.Module) -> Any:
    """Return what prunes the output channels of a convolution."""
    is_depthwise = layer.groups == layer.out_channels and layer.groups > 1
    return tp.prune_depthwise_conv_out_channels if is_depthwise else tp.prune_conv_out_channels


def unpools(graph: Any) -> bool:
    """Tell whether the network unpools anywhere."""
    return any("MaxUnpool" in node.name for node in graph.module2node.values())


def is_risky(node: Any, *, unpools: bool) -> bool:
    """Tell whether a group with this node of the graph is left alone under guards."""
    module = node.module
    if unpools and ("MaxUnpool" in node.name or "MaxPool" in node.name):
        return True
    if isinstance(module, nn.LayerNorm | nn.GroupNorm):
        return True
    return isinstance(module, nn.Conv2d) and 1 < module.groups < module.in_channels


def dead_channels(group: Group, size: int) -> list[int]:
    """Return the root's channels that no reader of the group reads; none if it has no reader."""
    readers = [item for item in group if item.dep.handler in READS]
    if not readers:
        return []
    alive = torch.zeros(size, dtype=torch.bool)
    for item in readers:
        used = columns(item.dep.target.module)
        for place, root in zip(item.idxs, item.root_idxs, strict=True):
            alive[root] |= used[place]
    return (~alive).nonzero().flatten().tolist()


def columns(layer: nn.Module) -> Tensor:
    """Return which input channels a layer reads, (C,) bool."""
    groups = getattr(layer, "groups", 1)
    rows, width = layer.weight.shape[:2]
    pattern = (layer.weight.detach() != 0).reshape(groups, rows // groups, width, -1)
    used: Tensor = pattern.any(3).any(1).flatten()
    return used
