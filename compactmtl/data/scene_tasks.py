"""The tasks of indoor scenes, of which a data set may be asked for some."""

from compactmtl.errors import UsageError
from compactmtl.multitask import make_task
from compactmtl.multitask.task import Task
from compactmtl.parts import nearest

SCENE_TASKS = ("seg", "depth", "normals")


def check_scene_tasks(dataset: str, tasks: tuple[str, ...]) -> None:
    """Refuse tasks that do not exist, none, or one named twice.

    Raises:
        UsageError: Any of these.
    """
    for name in tasks:
        if name not in SCENE_TASKS:
            raise UsageError(
                f"data set `{dataset}` has no task `{name}`{nearest(name, SCENE_TASKS)}",
                hint=f"there are: {', '.join(SCENE_TASKS)}",
            )
    if not tasks or len(set(tasks)) < len(tasks):
        raise UsageError(
            f"data set `{dataset}`: tasks = {list(tasks)}, expected at least one, and none twice"
        )


def scene_tasks(tasks: tuple[str, ...], classes: tuple[str, ...]) -> dict[str, Task]:
    """Return these tasks, segmentation with these classes."""
    every = {
        "seg": make_task("seg", "segmentation", {"num_classes": len(classes), "classes": classes}),
        "depth": make_task("depth", "depth", {}),
        "normals": make_task("normals", "normals", {}),
    }
    return {name: every[name] for name in tasks if name in every}
