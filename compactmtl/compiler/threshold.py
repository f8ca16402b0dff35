"""Treat small channel groups as zero, on a copy, and measure what that changes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from compactmtl.compiler.call import Inputs
from compactmtl.compiler.explain import layer_nodes
from compactmtl.compiler.precision import double_copy, put, to_double
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.weights import by_group
from compactmtl.compiler.value import attribute
from compactmtl.errors import UsageError


@dataclass
class Thresholded:
    """A network with its small groups at zero.

    Attributes:
        module: The graph; weights without a small group are the original's own tensors.
        limit: The threshold.
        groups: Per layer how many groups it set to zero, layers without one left out.
        num_groups: Groups of all layers.
    """

    module: fx.GraphModule
    limit: float
    groups: dict[str, int]
    num_groups: int


def apply_threshold(module: fx.GraphModule, limit: float) -> Thresholded:
    """Return a copy of a captured network whose small groups are zero.

    A group is W[:, c], all numbers of a layer that read its input channel c. It is small if its
    root mean square, which is its l2 norm over the square root of its size, is below ``limit``.
    Groups of every convolution and linear layer count, penalised in training or not: the network
    does not say which were.

    Args:
        module: The captured, normalised graph; it is not changed.
        limit: The threshold, in units of the weights.

    Raises:
        UsageError: The threshold is not a positive, finite number.
    """
    if not 0 < limit < math.inf:
        raise UsageError(
            f"threshold {limit:g}: expected a positive number, the root mean square of a group",
            hint="report.json of a run without it has the norms per layer",
        )
    changed: dict[str, Tensor] = {}
    groups: dict[str, int] = {}
    num_groups = 0
    for name, node in layer_nodes(Facts(module)):
        target = str(node.args[1].target)  # type: ignore[union-attr]
        weight = changed.get(target, attribute(module, target).detach())
        columns = by_group(node, weight).transpose(1, 2)  # (groups, columns, rows, ...)
        size = columns.flatten(2).double().square().mean(2).sqrt()
        num_groups += size.numel()
        small = (size < limit) & (size > 0)
        if small.any():
            changed[target] = weight.clone()
            by_group(node, changed[target]).transpose(1, 2)[small] = 0
            groups[name] = groups.get(name, 0) + int(small.sum())
    return Thresholded(_with(module, changed), limit, groups, num_groups)


def _with(module: fx.GraphModule, tensors: dict[str, Tensor]) -> fx.GraphModule:
    """Return the same graph, with other values for some of its weights."""
    graph, root = fx.Graph(), nn.Module()
    mapping: dict[fx.Node, fx.Node] = {}
    for node in module.graph.nodes:
        mapping[node] = graph.node_copy(node, lambda other: mapping[other])
        if node.op == "get_attr":
            own = attribute(module, str(node.target))
            put(root, str(node.target), tensors.get(str(node.target), own.detach()), like=own)
    graph.set_codegen(module.graph._codegen)
    return fx.GraphModule(root, graph)


@torch.no_grad()
def output_change(
    original: fx.GraphModule,
    thresholded: Thresholded,
    thresholded64: fx.GraphModule,
    samples: Sequence[Inputs],
    names: Sequence[str],
) -> dict[str, Any]:
    """Return what the threshold changed, in float64, as JSON data.

    Per output the worst over all inputs of: the root mean square of the change over that of the
    output, and the largest change over the largest magnitude.

    Args:
        original: The network as it was.
        thresholded: The network whose small groups are zero.
        thresholded64: The same in float64.
        samples: Inputs of both.
        names: Names of the outputs.
    """
    original64 = double_copy(original)
    worst = {name: {"rms": 0.0, "max": 0.0} for name in names}
    for inputs in samples:
        wide = [to_double(value) for value in inputs]
        pairs = zip(tree_leaves(original64(*wide)), tree_leaves(thresholded64(*wide)), strict=True)
        for name, (before, after) in zip(names, pairs, strict=True):
            change = relative_change(before, after)
            worst[name] = {key: max(worst[name][key], change[key]) for key in change}
    return {
        "limit": thresholded.limit,
        "num_zeroed": sum(thresholded.groups.values()),
        "num_groups": thresholded.num_groups,
        "layers": thresholded.groups,
        "outputs": worst,
    }


def relative_change(before: Tensor, after: Tensor) -> dict[str, float]:
    """Return root mean square and largest magnitude of a change, relative to those before it."""
    change, scale = after.double() - before.double(), before.double()
    if not change.numel():
        return {"rms": 0.0, "max": 0.0}
    return {
        "rms": _ratio(change.square().mean().sqrt(), scale.square().mean().sqrt()),
        "max": _ratio(change.abs().max(), scale.abs().max()),
    }


def _ratio(change: Tensor, scale: Tensor) -> float:
    return (change / scale).item() if scale else change.item()
