"""Tasks: what a head's output means, how it is scored and drawn."""

from collections.abc import Mapping
from typing import Any

from compactmtl.errors import CorruptFileError, PartError
from compactmtl.multitask.arguments import checked_arguments
from compactmtl.multitask.binary import Binary
from compactmtl.multitask.classification import Classification
from compactmtl.multitask.depth import Depth
from compactmtl.multitask.instances import Instances
from compactmtl.multitask.normals import Normals
from compactmtl.multitask.panoptic import Panoptic
from compactmtl.multitask.regression import Regression
from compactmtl.multitask.segmentation import Segmentation
from compactmtl.multitask.task import Task
from compactmtl.parts import find_part, is_foreign

__all__ = ["KINDS", "Task", "make_task", "task_from_spec"]

KINDS: dict[str, type[Task]] = {
    kind.kind: kind
    for kind in (
        *(Segmentation, Depth, Normals, Binary, Regression, Classification),
        *(Instances, Panoptic),
    )
}
"""The built-in kinds of task by the word a recipe uses."""


def make_task(name: str, kind: str, args: Mapping[str, Any]) -> Task:
    """Build the task ``name`` from its kind: a word of ``KINDS``, or ``package.module:Class``.

    Only call this with a kind from a recipe or a command line, never from a checkpoint.

    Raises:
        PartError: No such kind, or the user's class is not a ``Task`` of a kind of its own.
        RecipeError: The kind does not take these arguments.
    """
    factory = find_part(kind, KINDS, "kind of task")
    task = factory(name, **checked_arguments(factory, args, what=f"task `{name}` (`{kind}`)"))
    if not isinstance(task, Task):
        raise PartError(
            f"task `{name}`: `{kind}` made a {type(task).__name__}, expected a Task",
            hint="derive it from compactmtl.multitask.Task",
        )
    if is_foreign(kind) and KINDS.get(task.kind, type(task)) is not type(task):
        # A checkpoint would bring it back as the built-in kind, with other losses and metrics.
        raise PartError(
            f"task `{name}`: `{kind}` calls itself `{task.kind}`, which is a built-in kind",
            hint=f"give the class a `kind` of its own, other than {', '.join(KINDS)}",
        )
    return task


def task_from_spec(name: str, spec: Mapping[str, Any]) -> Task:
    """Rebuild a task of a built-in kind from ``Task.spec()``. Imports nothing that the spec names.

    Raises:
        PartError: The kind is not built in.
        CorruptFileError: The spec contradicts itself.
    """
    kind = spec.get("kind")
    if kind not in KINDS:
        raise PartError(
            f"task `{name}` is of kind `{kind}`, which is not built in",
            hint="give the recipe that defines it: --recipe FILE",
        )
    args = {key: value for key, value in spec.items() if key != "kind"}
    num_channels = args.get("num_channels")
    if kind != Regression.kind:  # elsewhere num_channels follows from the other arguments
        args.pop("num_channels", None)
    task = make_task(name, kind, args)
    if task.num_channels != num_channels:
        raise CorruptFileError(
            f"task `{name}` of kind `{kind}`: num_channels is {num_channels} in its spec, "
            f"expected {task.num_channels}"
        )
    return task
