"""How a network is called: what its example inputs hold, flattened to tensors with names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

from torch import Tensor, fx, nn
from torch.export import Dim, ShapesCollection
from torch.utils._pytree import (
    KeyEntry,
    TreeSpec,
    tree_flatten,
    tree_flatten_with_path,
    tree_structure,
    tree_unflatten,
)

from compactmtl.errors import UsageError

Inputs = tuple[Tensor, ...]
ExampleInputs = Tensor | Sequence[Any] | Mapping[str, Any]
"""One tensor, several in order, or several by the names of ``forward``'s parameters; in place of a
tensor also dicts, lists and tuples of tensors, where the network takes these."""


@dataclass(frozen=True)
class Call:
    """The arguments of a network.

    Attributes:
        inputs: All tensors in order; those of dicts in the order of their keys.
        spec: How positional and keyword arguments are made of them.
    """

    inputs: Inputs
    spec: TreeSpec

    def arguments(self, inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and keyword arguments that hold these tensors."""
        args, kwargs = tree_unflatten(inputs, self.spec)
        return args, kwargs

    def on(self, inputs: Inputs) -> "Call":
        """Return the same call with other tensors."""
        return Call(inputs, self.spec)

    def names(self, model: nn.Module) -> list[str]:
        """Return ``image`` for a tensor, ``batch.image`` for one in a dict; "" for ``*args``."""
        kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        known = [p.name for p in signature(model.forward).parameters.values() if p.kind in kinds]
        names = []
        for path, _ in tree_flatten_with_path(self.arguments(self.inputs))[0]:
            first = path_name(path[1:2])
            is_positional = path_name(path[:1]) == "0"
            if is_positional:
                first = known[int(first)] if int(first) < len(known) else ""
            names.append(".".join([first, *filter(None, [path_name(path[2:])])]))
        return names


def as_call(example_inputs: ExampleInputs) -> Call:
    """Return how example inputs call a network.

    Raises:
        UsageError: There is something else than a tensor in them.
    """
    if isinstance(example_inputs, Tensor):
        example_inputs = (example_inputs,)
    if isinstance(example_inputs, Mapping):
        values, spec = tree_flatten(((), dict(example_inputs)))
    else:
        values, spec = tree_flatten((tuple(example_inputs), {}))
    for index, value in enumerate(values):
        if not isinstance(value, Tensor):
            raise UsageError(
                f"example input {index} is a {type(value).__name__}, expected a tensor",
                hint="give one tensor, a tuple of tensors, or a dict of tensors by parameter name",
            )
    return Call(tuple(values), spec)


def free_axes(inputs: Inputs, axes: Sequence[Mapping[int, Any]]) -> ShapesCollection:
    """Return the free axes of inputs in a form that holds for any call.

    Args:
        inputs: The tensors of the call, every one an object of its own.
        axes: Per tensor its free axes.
    """
    shapes = ShapesCollection()  # type: ignore[no-untyped-call]
    for value, free in zip(inputs, axes, strict=True):
        shapes[value] = dict.fromkeys(free, Dim.AUTO)
    return shapes


def take_flat_inputs(module: fx.GraphModule, count: int) -> None:
    """Let a captured graph take its tensors one by one, whatever it was called with; in place.

    What a network returns keeps its structure.
    """
    codegen = module.graph._codegen
    names = [node.name for node in module.graph.nodes if node.op == "placeholder"]
    info = codegen.pytree_info._replace(orig_args=names, in_spec=_flat(count))  # type: ignore[attr-defined]
    codegen.pytree_info = info  # type: ignore[attr-defined]
    module.recompile()


def path_name(path: Sequence[KeyEntry]) -> str:
    """Return the dotted name of a place in nested dicts, lists and tuples."""
    return ".".join(
        str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", "")))) for key in path
    )


def _flat(count: int) -> TreeSpec:
    return tree_structure(((0,) * count, {}))
