"""Labelled images to score an artefact on, by each task's own metric.

They come from the validation split of the data set that was named for calibration, else of the one
in the model's recipe. Only a name that the user typed may be imported; one that a file holds must
be built in.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from compactmtl.data import DATASETS
from compactmtl.data.batch import loader
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.errors import DataError, MissingFileError
from compactmtl.export.calibration import names_data_set, spread
from compactmtl.export.cases import input_shapes, sizes_text
from compactmtl.export.interface import Interface
from compactmtl.export.stored import Array, Arrays
from compactmtl.multitask import KINDS, Task, task_from_spec
from compactmtl.multitask.evaluate import evaluate
from compactmtl.parts import call_part, find_part, is_foreign
from compactmtl.recipe import DataSection

NUM_IMAGES = 200
"""Images taken of a larger split, spread evenly: a search scores them many times."""
BATCH = 4


@dataclass(frozen=True)
class Unlabelled:
    """There are no labelled images, and why."""

    why: str


@dataclass(frozen=True)
class Labelled:
    """Images with targets.

    Attributes:
        images: The data set, or a part of it.
        tasks: The tasks that it has a valid target for.
        source: Where it comes from, one phrase.
        input_name: The model's input that takes the images.
        batch: The batch size the model is fixed to; None where it is free.
    """

    images: MultiTaskDataset
    tasks: Mapping[str, Task]
    source: str
    input_name: str
    batch: int | None = None

    @property
    def num_images(self) -> int:
        """How many images are scored: those that fill batches of a fixed size."""
        return len(self.images) // (self.batch or 1) * (self.batch or 1)

    def score(self, run: Callable[[Arrays], dict[str, Array]]) -> dict[str, float]:
        """Return each task's primary metric.

        Raises:
            DataError: Outputs and targets differ in size, or a sample is malformed.
            NonFiniteError: An output holds NaN or Inf.
        """

        def predict(images: Tensor) -> dict[str, Tensor]:
            outputs = run({self.input_name: images.numpy()})
            return {name: torch.from_numpy(outputs[name]) for name in self.tasks}

        metrics = evaluate(predict, self.batches(), self.tasks)
        return {name: metrics[name][task.primary] for name, task in self.tasks.items()}

    def batches(self) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yield images and targets, always in the same order."""
        yield from loader(
            self.images,
            self.tasks,
            batch_size=self.batch or BATCH,
            shuffle=False,
            generator=torch.Generator(),
            drop_last=self.batch is not None,
        )


def find_labelled(
    calibration: object,
    program: ExportedProgram,
    interface: Interface,
    data: DataSection | None,
) -> Labelled | Unlabelled:
    """Return labelled images that the model takes, or why there are none.

    Args:
        calibration: What ``Options.calibration`` says; a data set's name is used here, too.
        program: The model.
        interface: Its input and its tasks.
        data: The data set of the model's recipe.

    Raises:
        CompactMTLError: The data set that was named for calibration cannot be read.
    """
    named = isinstance(calibration, str) and names_data_set(calibration)
    if isinstance(calibration, str) and named:
        args = data.args if data is not None and data.name == calibration else {}
        data = DataSection(name=calibration, args=args)
    if data is None:
        return Unlabelled("no recipe says which data the model was trained on")
    if is_foreign(data.name) and not named:
        return Unlabelled(f"the data set {data.name} is the user's own code: name it to import it")
    if len(interface.input_names) != 1:
        return Unlabelled("the model has several inputs, data sets have one image")
    tasks = {
        name: task_from_spec(name, spec)
        for name, spec in interface.tasks.items()
        if spec.get("kind") in KINDS
    }
    if not tasks:
        return Unlabelled("the model names no task of a built-in kind")
    try:
        split = call_part(data.name, find_part(data.name, DATASETS, "data set"), "val", **data.args)
        return _fit(split, tasks, f"validation images of {data.name}", program, interface)
    except (DataError, MissingFileError) as error:
        if named:
            raise
        return Unlabelled(f"the validation data of {data.name} is not at hand: {error.message}")


def _fit(
    split: MultiTaskDataset,
    tasks: Mapping[str, Task],
    source: str,
    program: ExportedProgram,
    interface: Interface,
) -> Labelled | Unlabelled:
    ((name, shape),) = input_shapes(program, interface).items()
    batch = shape[0] if isinstance(shape[0], int) else None
    some = _Some(split, spread(len(split), NUM_IMAGES))
    found = Labelled(some, tasks, source, name, batch)
    if not found.num_images:
        return Unlabelled(f"{len(split)} {source} do not fill the model's batch of {batch or 1}")
    valid: set[str] = set()
    for images, targets in found.batches():
        fits = len(shape) == 4 and all(
            isinstance(want, str) or want == have
            for want, have in zip(shape[1:], images.shape[1:], strict=True)
        )
        if not fits:
            return Unlabelled(
                f"{source} are {list(images.shape[1:])}, the model takes [{sizes_text(shape[1:])}]"
            )
        valid |= {name for name, task in tasks.items() if task.valid(targets[name]).any()}
    if not valid:
        return Unlabelled(f"{source} have no label of the tasks {', '.join(tasks)}")
    own = {name: task for name, task in tasks.items() if name in valid}
    return Labelled(some, own, source, name, batch)


class _Some:
    """Some images of a split."""

    def __init__(self, split: MultiTaskDataset, indices: list[int]) -> None:
        self.split, self.indices = split, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        return self.split[self.indices[index]]
