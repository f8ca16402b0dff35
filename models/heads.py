"""One head per task."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import nn

from compactmtl.errors import RecipeError

Size = TypeVar("Size")


def one_per_task(tasks: Mapping[str, Size], make: Callable[[Size], nn.Module]) -> nn.ModuleDict:
    """Return ``make(size)`` for each task, in the order of the tasks.

    Args:
        tasks: Number of output channels by task name, or whatever ``make`` takes.
        make: Builds one head.

    Raises:
        RecipeError: No task, or a name that cannot be part of a module's dotted name.
    """
    if not tasks:
        raise RecipeError("a network needs at least one task")
    for name in tasks:
        if not name or "." in name or hasattr(nn.ModuleDict, name):
            raise RecipeError(
                f"`{name}` cannot be the name of a task: PyTorch's ModuleDict refuses it",
                hint="use another word, without a dot",
            )
    return nn.ModuleDict({name: make(size) for name, size in tasks.items()})
