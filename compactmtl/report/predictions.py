"""What the dense and the compact model predict, on validation data where it is at hand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compactmtl.compact import CompactModel, Manifest, load
from compactmtl.compact_network import CompactNetwork, NetworkManifest, load_network
from compactmtl.data.batch import loader
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.errors import DataError, MissingFileError
from compactmtl.evaluation.tasks import load_tasks, load_validation_data, names_own_data
from compactmtl.lineage import MODEL, is_network
from compactmtl.multitask.evaluate import evaluate
from compactmtl.multitask.instances import Instances
from compactmtl.multitask.panoptic import Panoptic
from compactmtl.multitask.task import Task
from compactmtl.recipe import Recipe, parse
from compactmtl.report.collect import Record
from compactmtl.report.pictures import Picture, to_picture
from compactmtl.report.samples import Metrics, Predictions, Sample, TaskFacts

DENSE = "dense.pt2"
NUM_SAMPLES = 4
MAX_IMAGES = 1000
"""A larger validation split is evaluated on its first images only; the page says so."""

Outputs = Mapping[str, Tensor]


def predict(record: Record, *, data: Path | None = None) -> Predictions:
    """Run both ``.pt2`` models on validation images, or on the stored inputs where there are none.

    Args:
        record: The compact folder and its run.
        data: Folder of data packs that takes the place of the recipe's.

    Raises:
        UnsafeFileError: ``model.pt2`` holds more than a model.
        CorruptFileError: It is damaged.
        UsageError: ``data`` is given, but the data set takes no folder.
        DataError: ``data`` is given, but does not hold the data.
    """
    manifest: Manifest | NetworkManifest
    if is_network(record.folder):
        network = load_network(record.folder)
        models = _of_network(network)
        manifest, images, part = network.manifest, [network.manifest.image.name], ""
    else:
        model = load(record.folder / MODEL)
        models = _models(model, record.folder)
        manifest = model.manifest
        images, part = model.manifest.input_names, model.manifest.part
    recipe = record.run.recipe if record.run else None
    if recipe is None and manifest.recipe is not None:
        recipe = parse(manifest.recipe, source="model.pt2")
    trusted = record.run is not None and record.run_was_named
    tasks, notes = load_tasks(manifest.tasks, recipe, trusted=trusted)
    if not tasks:
        notes.append(_no_task(part))
        return Predictions(source="", notes=tuple(notes))
    if len(images) > 1:
        notes.append("The model has several inputs; pictures are drawn for one image input only.")
        return Predictions(source="", tasks=_facts(tasks), notes=tuple(notes))
    split, reason = _validation_data(recipe, data, trusted=trusted)
    if split is None:
        notes.append(reason)
        return _from_inputs(record.folder, images[0], models, tasks, notes)
    return _from_data(split, models, tasks, notes, recipe)


def _no_task(part: str) -> str:
    if part:
        return (
            f"The part {part} alone was compiled: what it yields are features, not tasks. "
            "The whole network is scored by compactmtl evaluate."
        )
    return "The model names no task that can be drawn."


def _models(model: CompactModel, folder: Path) -> dict[str, Callable[[Tensor], Outputs]]:
    modules: dict[str, nn.Module] = {"compact": model.module}
    if (folder / DENSE).is_file():
        modules["dense"] = load(folder / DENSE).module
    names = model.manifest.output_names

    def runner(module: nn.Module) -> Callable[[Tensor], Outputs]:
        def run(images: Tensor) -> Outputs:
            outputs = module(images)
            if isinstance(outputs, Tensor):
                outputs = (outputs,)
            return (
                outputs if isinstance(outputs, Mapping) else dict(zip(names, outputs, strict=True))
            )

        return run

    return {name: runner(modules[name]) for name in ("dense", "compact") if name in modules}


def _of_network(network: CompactNetwork) -> dict[str, Callable[[Tensor], Outputs]]:
    assert network.dense is not None
    return {"dense": network.dense, "compact": network.module}


def _validation_data(
    recipe: Recipe | None, data: Path | None, *, trusted: bool
) -> tuple[MultiTaskDataset | None, str]:
    if recipe is None:
        return None, "No recipe says which data this model was trained on."
    if names_own_data(recipe) and not trusted:
        return None, (
            f"The data set {recipe.data.name} is the user's own code, imported only for a run that "
            "is named: compactmtl report --run RUN."
        )
    try:
        return load_validation_data(recipe, data), ""
    except (DataError, MissingFileError) as error:
        if data is not None:
            raise
        return None, f"The validation data is not at hand: {error.message}."


def _from_data(
    split: MultiTaskDataset,
    models: Mapping[str, Callable[[Tensor], Outputs]],
    tasks: Mapping[str, Task],
    notes: list[str],
    recipe: Recipe | None,
) -> Predictions:
    num_images = min(len(split), MAX_IMAGES)
    shown = sorted({round(i) for i in np.linspace(0, len(split) - 1, NUM_SAMPLES)})
    drawn = [split[index] for index in shown]
    images = torch.stack([image for image, _ in drawn])
    outputs = {name: _run(run, images) for name, run in models.items()}
    samples = []
    for row, (index, (image, targets)) in enumerate(zip(shown, drawn, strict=True)):
        pictures = _draw(tasks, outputs, row)
        for name, task in tasks.items():
            if name in targets and bool(task.valid(task.stack([targets[name]])).any()):
                pictures[name]["truth"] = task.picture(targets[name])
        samples.append(
            Sample(name=f"image {index}", image=to_picture(image.numpy()), pictures=pictures)
        )
    metrics: dict[str, Metrics] = {}
    batches = loader(
        _First(split, num_images),
        tasks,
        batch_size=recipe.data.batch_size if recipe else 1,
        shuffle=False,
        generator=torch.Generator(),
        num_workers=0,
    )
    try:
        metrics = {name: evaluate(_inference(run), batches, tasks) for name, run in models.items()}
    except DataError as error:
        notes.append(f"Not evaluated: {error.message}.")
    name = recipe.data.name if recipe else "data"
    return Predictions(
        source=f"Validation split of {name}, {num_images} of {len(split)} images.",
        tasks=_facts(tasks),
        samples=samples,
        metrics=metrics,
        num_images=num_images,
        differences=_differences(outputs, tasks),
        notes=tuple(notes),
    )


def _from_inputs(
    folder: Path,
    input_name: str,
    models: Mapping[str, Callable[[Tensor], Outputs]],
    tasks: Mapping[str, Task],
    notes: list[str],
) -> Predictions:
    path = folder / "inputs.npz"
    if not path.is_file():
        return Predictions(
            source="", tasks=_facts(tasks), notes=(*notes, "There is no inputs.npz either.")
        )
    with np.load(path, allow_pickle=False) as arrays:
        images = torch.from_numpy(arrays[input_name][:NUM_SAMPLES].astype(np.float32))
        origin = str(arrays["source"]) if "source" in arrays else "of unknown origin"
    outputs = {name: _run(run, images) for name, run in models.items()}
    samples = [
        Sample(
            name=f"stored input {row}",
            image=to_picture(image.numpy()),
            pictures=_draw(tasks, outputs, row),
        )
        for row, image in enumerate(images)
    ]
    return Predictions(
        source=f"Inputs stored beside the model ({origin}); they carry no labels.",
        tasks=_facts(tasks),
        samples=samples,
        differences=_differences(outputs, tasks),
        notes=tuple(notes),
    )


def _draw(
    tasks: Mapping[str, Task], outputs: Mapping[str, Outputs], row: int
) -> dict[str, dict[str, Picture]]:
    return {
        name: {
            which: task.picture(task.predict(raw[name][row : row + 1])[0])
            for which, raw in outputs.items()
        }
        for name, task in tasks.items()
    }


def _run(run: Callable[[Tensor], Outputs], images: Tensor) -> Outputs:
    with torch.inference_mode():
        return run(images)


def _inference(run: Callable[[Tensor], Outputs]) -> Callable[[Tensor], Outputs]:
    return lambda images: _run(run, images)


def _differences(outputs: Mapping[str, Outputs], tasks: Mapping[str, Task]) -> dict[str, float]:
    if "dense" not in outputs:
        return {}
    result = {}
    for name in tasks:
        dense, compact = outputs["dense"][name], outputs["compact"][name]
        if not isinstance(dense, Tensor) or not dense.is_floating_point():
            continue  # things found, or ids: the metrics say how they differ
        dense, compact = dense.double(), compact.double()
        scale = dense.abs().max().clamp(min=1e-30)
        result[name] = float((compact - dense).abs().max() / scale)
    return result


def _facts(tasks: Mapping[str, Task]) -> dict[str, TaskFacts]:
    return {
        name: TaskFacts(
            kind=task.kind,
            primary=task.primary,
            higher_is_better=task.higher_is_better,
            legend=_legend(task),
        )
        for name, task in tasks.items()
    }


def _legend(task: Task) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    """Return class names with the colours the task itself draws them in."""
    names = getattr(task, "classes", None)
    if not names or isinstance(task, Instances | Panoptic):  # colours tell things apart there
        return ()
    colours = task.picture(torch.arange(len(names)).unsqueeze(0))[0]
    return tuple(
        (str(name), (int(red), int(green), int(blue)))
        for name, (red, green, blue) in zip(names, colours, strict=True)
    )


class _First:
    """The first images of a split."""

    def __init__(self, split: MultiTaskDataset, num_images: int) -> None:
        self.split, self.num_images = split, num_images

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        return self.split[index]
