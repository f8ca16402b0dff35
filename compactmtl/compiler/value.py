"""What the compiler knows about one tensor of the graph: its channel axis and its parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx


@dataclass(frozen=True)
class Value:
    """A graph value with channels.

    Attributes:
        node: The fx node that produces it; for a node that returns a tuple, its first output.
        axis: Index of the channel axis.
        num_channels: Size of that axis in the captured network.
    """

    node: fx.Node
    axis: int
    num_channels: int


def fake_tensor(node: fx.Node) -> Tensor | None:
    """Return the captured shape and dtype of a node (the first output of a tuple), if a tensor."""
    value = node.meta.get("val")
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None


def value_of(node: fx.Node, axis: int = 1) -> Value | None:
    """Return the node's channel view: an axis of known size in a batched tensor."""
    tensor = fake_tensor(node)
    if tensor is None or tensor.ndim < 2 or not isinstance(tensor.shape[axis], int):
        return None
    return Value(node, axis, tensor.shape[axis])


def symbolic_shape(node: fx.Node) -> tuple[object, ...]:
    """Return a node's shape, free sizes as their expressions; empty for anything but a tensor."""
    value = node.meta.get("val")
    shape = value.shape if isinstance(value, Tensor) else ()
    return tuple(size if isinstance(size, int) else size.node.expr for size in shape)


def attribute(module: torch.nn.Module, target: str) -> Tensor:
    """Return the parameter or buffer with this dotted name."""
    owner_name, _, name = target.rpartition(".")
    tensor = getattr(module.get_submodule(owner_name), name)
    assert isinstance(tensor, Tensor), f"{target} is a {type(tensor).__name__}"
    return tensor


def source_line(node: fx.Node) -> str:
    """Return ``file:line`` of the user's code that made this node, or an empty string."""
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines()]
    frames = [line for line in lines if line.startswith("File ") and "/torch/" not in line]
    if not frames:
        return ""
    parts = frames[-1].split(",")
    return f"{parts[0].removeprefix('File ').strip().strip(chr(34))}:{parts[1].split()[-1]}"
