"""Which samples are labelled for which task, where a data set is labelled in part."""

from collections.abc import Callable, Mapping

from compactmtl.data.batch import check_image
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.data.survey import spread
from compactmtl.errors import DataError
from compactmtl.multitask.task import Task

LOOK = 16
"""Samples that are looked at in any case, evenly spread."""


def labels_of(dataset: MultiTaskDataset, tasks: Mapping[str, Task], index: int) -> set[str]:
    """Return the tasks for which a sample has anything valid.

    Raises:
        DataError: The sample is malformed.
    """
    image, targets = dataset[index]
    check_image(image, f"sample {index}: image")
    height, width = int(image.shape[1]), int(image.shape[2])
    found = set()
    for name, task in tasks.items():
        if name not in targets:
            continue
        blank = task.missing(height, width)
        task.check_target(targets[name], blank, f"sample {index}, task `{name}`: target")
        if bool(task.valid(task.stack([targets[name]])).any()):
            found.add(name)
    return found


def look(
    dataset: MultiTaskDataset,
    tasks: Mapping[str, Task],
    what: str,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, int]:
    """Make sure that every task has a labelled sample; look at a few samples, at all if need be.

    Args:
        dataset: The samples.
        tasks: The tasks by name.
        what: Names the samples, as in "the train split of `rooms`".
        progress: Called with (samples looked at, all samples), beyond the first few.

    Returns:
        Of the first ``LOOK`` samples (evenly spread), how many are labelled for each task.

    Raises:
        DataError: A task has not one labelled sample, or a sample is malformed.
    """
    number = len(dataset)
    first = spread(number, LOOK)
    counts = dict.fromkeys(tasks, 0)
    for index in first:
        for name in labels_of(dataset, tasks, index):
            counts[name] += 1
    unseen = {name for name, count in counts.items() if count == 0}
    if unseen:
        looked = set(first)
        for index in range(number):
            if index not in looked:
                unseen -= labels_of(dataset, tasks, index)
                progress(index + 1, number)
            if not unseen:
                break
    if unseen:
        names = ", ".join(f"`{name}`" for name in tasks if name in unseen)
        raise DataError(
            f"{what}: task {names} is labelled in none of the {number} samples",
            hint="does the data set use this task's name and its way to mark invalid pixels? "
            "`compactmtl data check` counts",
        )
    return counts


def check_subsets(
    dataset: MultiTaskDataset,
    tasks: Mapping[str, Task],
    subsets: Mapping[int, list[int]],
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Make sure that every subset has a labelled sample of every task; reads all samples once.

    Args:
        dataset: The samples.
        tasks: The tasks by name.
        subsets: Samples of the subset, by epoch.
        progress: Called with (samples read, all samples).

    Raises:
        DataError: A subset has none; names the first such epoch.
    """
    labelled: dict[str, set[int]] = {name: set() for name in tasks}
    number = len(dataset)
    for index in range(number):
        for name in labels_of(dataset, tasks, index):
            labelled[name].add(index)
        progress(index + 1, number)
    for epoch, subset in subsets.items():
        for name, indices in labelled.items():
            if indices.isdisjoint(subset):
                raise DataError(
                    f"task `{name}` is labelled in {len(indices)} of {number} samples, and in none "
                    f"of the {len(subset)} that train its factors in epoch {epoch}",
                    hint="raise overparam.subset, or set overparam.iterative to minibatch or none",
                )
