"""Which layers a network spends its time in, by the cost table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.compiler.cost import ConvShape, CostModel


@dataclass(frozen=True)
class LayerShare:
    """One layer of the dense network, and what becomes of it.

    Attributes:
        name: Its dotted name.
        macs: Multiply-accumulates.
        macs_share: Of all layers.
        time_share: Of the time that the cost model predicts for all layers.
        saved_share: Of that time, what it loses at the sparsity looked at.
    """

    name: str
    macs: int
    macs_share: float
    time_share: float
    saved_share: float


def layer_shapes(network: nn.Module, inputs: Sequence[Tensor]) -> dict[str, ConvShape]:
    """Run a network once and return the shape of every convolution and linear layer, batch 1."""
    shapes: dict[str, ConvShape] = {}

    def watch(name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            is_conv = isinstance(layer, nn.Conv2d)
            weight = layer.get_parameter("weight")
            groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
            shapes[name] = ConvShape(
                rows=weight.shape[0],
                columns=weight.shape[1] * groups,
                taps=weight.shape[2:].numel(),
                groups=groups,
                positions=(output.shape[2:] if is_conv else output.shape[1:-1]).numel(),
                in_positions=(args[0].shape[2:] if is_conv else args[0].shape[1:-1]).numel(),
            )

        return hook

    hooks = [
        layer.register_forward_hook(watch(name))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.no_grad():
            network.eval()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def shares(
    shapes: Mapping[str, ConvShape], after: Sequence[Mapping[str, Any]], model: CostModel
) -> list[LayerShare]:
    """Return the layers, the one that saves most first.

    Args:
        shapes: The dense layers.
        after: The report's layer table of a compact model.
        model: What layers cost.
    """
    widths = {each["name"]: (each["out_after"], each["in_after"]) for each in after}
    before = {name: model.conv(shape) for name, shape in shapes.items()}
    macs, total = sum(shape.macs for shape in shapes.values()), sum(before.values())
    found = []
    for name, shape in shapes.items():
        rows, columns = widths.get(name, (shape.rows, shape.columns))
        groups = columns if shape.groups == shape.columns else shape.groups
        left = ConvShape(rows, columns, shape.taps, groups, shape.positions, shape.in_positions)
        cost = model.conv(left) if rows and columns else 0.0
        found.append(
            LayerShare(
                name=name,
                macs=shape.macs,
                macs_share=shape.macs / macs,
                time_share=before[name] / total,
                saved_share=(before[name] - cost) / total,
            )
        )
    return sorted(found, key=lambda layer: -layer.saved_share)
