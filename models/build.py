"""A network from the name and the arguments that a recipe gives."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from compactmtl.errors import PartError
from compactmtl.models import MODELS
from compactmtl.multitask.arguments import checked_arguments
from compactmtl.parts import call_part, find_part


def build(name: str, tasks: Mapping[str, int], args: Mapping[str, Any]) -> nn.Module:
    """Build a network: one of ``MODELS`` by name, or the user's own ``package.module:factory``.

    Only call this with a name from a recipe or a command line, never from a checkpoint.

    Args:
        name: The network's name.
        tasks: Number of output channels by task name.
        args: Arguments of its factory.

    Raises:
        PartError: No such network, or a factory that makes something else.
        RecipeError: The factory does not take these arguments.
    """
    factory = find_part(name, MODELS, "network")
    checked = checked_arguments(factory, args, what=f"network `{name}`")
    network = call_part(name, factory, tasks, **checked)
    if not isinstance(network, nn.Module):
        raise PartError(
            f"network `{name}` is a {type(network).__name__}, expected a torch.nn.Module"
        )
    return network
