"""What convolutions of every kind have in common: their arguments and their weights."""

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import Facts
from compactmtl.compiler.rules.sharing import refuses_sharing

TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})


def argument(node: fx.Node, position: int, default: object) -> object:
    """Return a positional argument, or its default where it is left out."""
    return node.args[position] if len(node.args) > position else default


def is_padded(node: fx.Node) -> bool:
    """Tell whether a convolution pads with zeros."""
    padding = argument(node, 4, 0) if "conv" in str(node.target) else 0
    return any(padding) if isinstance(padding, (list, tuple)) else bool(padding)


def is_transposed(node: fx.Node) -> bool:
    """Tell whether a layer is a transposed convolution: weight (columns, rows, ...)."""
    packet = getattr(node.target, "overloadpacket", None)
    return getattr(packet, "__name__", "") in TRANSPOSED


def num_groups(node: fx.Node) -> int:
    """Return the groups of a convolution; a linear layer has one."""
    if "conv" not in str(node.target):
        return 1
    groups = argument(node, 6, 1)
    assert isinstance(groups, int)
    return groups


def by_group(node: fx.Node, weight: Tensor) -> Tensor:
    """Return a layer's weight as (groups, rows per group, columns per group, ...)."""
    groups = num_groups(node)
    if is_transposed(node):
        return weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
    return weight.reshape(groups, -1, *weight.shape[1:])


def sum_of_taps(weight: Tensor) -> Tensor:
    """Return the sum over the kernel positions of (rows, columns, ...): (rows, columns)."""
    return weight.reshape(*weight.shape[:2], -1).sum(2)


def used_columns(pattern: Tensor, rows: Tensor) -> Tensor:
    """Return the columns of a pattern (rows, columns) that are not zero in some of ``rows``.

    numpy reduces booleans some fifty times as fast as torch does.
    """
    return torch.from_numpy(pattern.numpy()[rows.numpy()].any(axis=0))


def refuses_weights(node: fx.Node, facts: Facts) -> str:
    """Return why the parameters of a convolution or linear layer cannot be cut, or ""."""
    weight, bias = node.args[1], argument(node, 2, None)
    if not (isinstance(weight, fx.Node) and weight.op == "get_attr"):
        return "its weight is computed"
    if bias is not None and not (isinstance(bias, fx.Node) and bias.op == "get_attr"):
        return "its bias is computed"
    if isinstance(argument(node, 4, 0), str):
        return "its padding is given as a word"
    source = node.args[0]
    is_conv = "conv" in str(node.target)
    if is_conv and source.meta["val"].ndim != facts.tensor(weight).ndim:  # type: ignore[union-attr]
        return "its input has another rank than its weight"
    if source not in facts.values:
        return "its input has no known channel axis"
    return refuses_sharing(node, facts)


def set_rows(
    weight: Tensor, bias: Tensor | None, *, computed: Tensor, live: Tensor, constants: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Clear the rows that are not computed; constants that are read go into the bias.

    Args:
        weight: (rows, ...); changed in place.
        bias: (rows,), or None.
        computed: Rows whose convolution matters.
        live: Rows whose content matters.
        constants: Per row its constant; looked at where a live row is not computed.
    """
    weight[~computed] = 0
    if bias is None and constants[live & ~computed].any():
        bias = torch.zeros(weight.shape[0], dtype=weight.dtype)
    if bias is not None:
        bias = torch.where(live & ~computed, constants.to(weight.dtype), bias)
        bias[~live] = 0
    return weight, bias
