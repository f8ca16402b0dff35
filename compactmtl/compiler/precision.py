"""The same graph in float64, and back in the precision it came in."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Argument, map_aggregate

from compactmtl.compiler.value import attribute


def to_double(value: Tensor) -> Tensor:
    """Return floats as float64 and everything else as it is."""
    return value.double() if value.is_floating_point() else value


def double_copy(module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of a graph that computes in float64; explicit casts to float32 follow suit."""
    root = nn.Module()
    graph = fx.Graph()
    graph.set_codegen(copy.deepcopy(module.graph._codegen))
    mapping: dict[fx.Node, fx.Node] = {}
    for node in module.graph.nodes:
        mapping[node] = new = graph.node_copy(node, lambda other: mapping[other])
        new.args = map_aggregate(new.args, _wider)
        new.kwargs = map_aggregate(new.kwargs, _wider)
        if node.op == "get_attr":
            old = attribute(module, str(node.target))
            put(root, str(node.target), to_double(old.detach()), like=old)
    return fx.GraphModule(root, graph)


def _wider(argument: Argument) -> Argument:
    return torch.float64 if argument in (torch.float32, torch.float16, torch.bfloat16) else argument


def put(root: nn.Module, name: str, tensor: Tensor, *, like: Tensor | None) -> None:
    """Put a tensor at a dotted name, as a parameter where ``like`` is one."""
    *path, leaf = name.split(".")
    owner = root
    for part in path:
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        owner = owner.get_submodule(part)
    if isinstance(like, nn.Parameter):
        owner.register_parameter(
            leaf, nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
        )
    else:
        owner.register_buffer(leaf, tensor)


@torch.no_grad()
def rounded_copy(
    module: fx.GraphModule, original: fx.GraphModule, like: Mapping[str, Tensor]
) -> fx.GraphModule:
    """Return a copy of a graph with its floats rounded once, to the precision they came from.

    Args:
        module: A graph in float64.
        original: The captured graph.
        like: For tensors that the original does not have, one to take the type from.
    """
    root = nn.Module()
    for name in dict.fromkeys(str(n.target) for n in module.graph.nodes if n.op == "get_attr"):
        wide = attribute(module, name)
        if wide.is_floating_point():
            model = like[name] if name in like else attribute(original, name)
            put(root, name, wide.detach().to(model.dtype, copy=True), like=wide)
        else:
            put(root, name, wide.detach().clone(), like=wide)
    return fx.GraphModule(root, copy.deepcopy(module.graph))
