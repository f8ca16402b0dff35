"""Which channels of the original network a parameter of the compact model holds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from compactmtl.errors import WeightsError

Axis = list[int] | list[list[int]] | None
"""Original positions along one axis, in stored order; one list per group of a grouped convolution
where the groups differ; None: all of them."""


def scatter(
    state: Mapping[str, Tensor],
    parameters: Mapping[str, Mapping[str, Any]],
    *,
    lossless: bool = True,
) -> dict[str, Tensor]:
    """Return a compact state dict at the shapes of the original network, with zeros elsewhere.

    Args:
        state: The compact model's state dict.
        parameters: ``plan["parameters"]``.
        lossless: Raise for a weight that has no place in the original; otherwise leave it out, and
            return the biases that the original lacks as well.

    Raises:
        WeightsError: A tensor is missing, does not fit the plan, or has no place.
    """
    result: dict[str, Tensor] = {}
    for name, entry in parameters.items():
        if entry["shape"] is not None and not (lossless and entry["new"]):
            whole = entry.get("part_of") or name
            result[whole] = _place(name, state, entry, lossless, result.get(whole))
    return result


def cut(tensor: Tensor, entry: Mapping[str, Any]) -> Tensor:
    """Return what a compact model holds of one of the original's tensors: the reverse of scatter.

    Args:
        tensor: At the original's shape.
        entry: Its entry of ``plan["parameters"]``, with axes.
    """
    if not entry["shape"]:
        return tensor.clone()
    if (groups := entry.get("groups", 1)) > 1:
        size, columns, *taps = entry["shape"]
        wide = tensor.new_zeros(groups, size // groups, groups, columns, *taps)
        for group, part in enumerate(tensor.chunk(groups)):
            wide[group, :, group] = part
        tensor = wide.reshape(size, groups * columns, *taps)
    rows = compact_shape(entry)[0]
    return tensor[index(entry["axes"], tensor.shape, rows)].clone()


def _place(
    name: str,
    state: Mapping[str, Tensor],
    entry: Mapping[str, Any],
    lossless: bool,
    others: Tensor | None,
) -> Tensor:
    """Return one tensor at the original's shape, beside ``others`` that are there already."""
    if name not in state:
        raise WeightsError(f"the weights lack `{name}`, which the plan lists")
    tensor, shape, axes = state[name], list(entry["shape"]), entry["axes"]
    if axes is None:
        raise WeightsError(f"the plan does not say which channels `{name}` holds: a rule cut it")
    if list(tensor.shape) != compact_shape(entry):
        raise WeightsError(
            f"`{name}` is {list(tensor.shape)}, expected {compact_shape(entry)} by the plan"
        )
    if not shape:
        return tensor.clone()
    if entry.get("groups", 1) > 1:
        return _into_groups(name, tensor, entry, lossless)
    result = tensor.new_zeros(shape) if others is None else others
    result[index(axes, shape, tensor.shape[0])] = tensor
    return result


def _into_groups(name: str, tensor: Tensor, entry: Mapping[str, Any], lossless: bool) -> Tensor:
    """Return the weight of a grouped convolution from that of a dense one in its place."""
    groups, (size, columns, *_) = entry["groups"], entry["shape"]
    wide = tensor.new_zeros([size, groups * columns, *entry["shape"][2:]])
    wide[index(entry["axes"], wide.shape, tensor.shape[0])] = tensor
    parts = wide.reshape(groups, size // groups, groups, columns, *wide.shape[2:])
    result = torch.stack([parts[group, :, group] for group in range(groups)])
    if lossless and result.count_nonzero() < tensor.count_nonzero():
        raise WeightsError(
            f"`{name}` was written as a dense convolution, and was trained to read across its "
            f"{groups} groups: such weights have no place in the original"
        )
    return result.flatten(0, 1)


def compact_shape(entry: Mapping[str, Any]) -> list[int]:
    """Return the shape of a parameter of the compact model by its entry in the plan."""
    whole = list(entry["shape"])
    if entry.get("groups", 1) > 1:
        whole[1] *= entry["groups"]
    return [_count(axis, size) for axis, size in zip(entry["axes"], whole, strict=True)]


def _count(axis: Axis, size: int) -> int:
    """Return how many positions of an axis are kept, in one group where groups differ."""
    if axis is None:
        return size
    return len(axis[0]) if axis and isinstance(axis[0], list) else len(axis)


def index(axes: Sequence[Axis], shape: Sequence[int], rows: int) -> tuple[Tensor, ...]:
    """Return the index with which ``dense[index]`` is the compact tensor.

    Args:
        axes: As in the plan; an axis with one list per group belongs to equal parts of axis 0.
        shape: Shape of the dense tensor.
        rows: Length of the compact tensor's axis 0.
    """
    places = []
    for position, (axis, size) in enumerate(zip(axes, shape, strict=True)):
        ids = torch.arange(size) if axis is None else torch.tensor(axis, dtype=torch.int64)
        if ids.ndim == 2:  # (groups, columns): the same for every row of a group
            ids = ids.repeat_interleave(rows // math.prod(ids.shape[:1]), 0)
            around = [rows, *[1] * (position - 1), ids.shape[1], *[1] * (len(axes) - position - 1)]
        else:
            around = [1] * position + [len(ids)] + [1] * (len(axes) - position - 1)
        places.append(ids.reshape(around))
    return tuple(places)
