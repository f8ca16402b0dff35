"""The parts of a run: data, tasks and network, from the recipe or as the caller's objects."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from compactmtl.data import DATASETS
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.errors import DataError, RecipeError
from compactmtl.models.build import build
from compactmtl.multitask import KINDS, make_task
from compactmtl.multitask.arguments import checked_arguments
from compactmtl.multitask.task import Task
from compactmtl.parts import call_part, find_part, nearest
from compactmtl.recipe import Recipe
from compactmtl.training.reporter import Reporter, RunInfo
from compactmtl.training.seeding import seed_everything
from compactmtl.weights import fit_weights, load_pretrained, load_weights


@dataclass
class Parts:
    """What a run works on."""

    model: nn.Module
    train_data: MultiTaskDataset
    val_data: MultiTaskDataset
    tasks: dict[str, Task]


def assemble(
    recipe: Recipe,
    *,
    model: nn.Module | None = None,
    train_data: MultiTaskDataset | None = None,
    val_data: MultiTaskDataset | None = None,
    tasks: Mapping[str, Task] | None = None,
    reporter: Reporter,
) -> Parts:
    """Build what the recipe names; an object that is given takes the place of its name.

    The network is built last, right after ``seed_everything(recipe.seed)``, so that its first
    weights depend on the seed alone; then it takes ``model.pretrained``. ``train.init`` is loaded
    into a network given as an object too.

    Raises:
        RecipeError: An argument that a part does not take, or a task without a kind.
        PartError: A part that is not there.
        WeightsError: ``train.init`` or ``model.pretrained`` does not fit the network.
        DataError: A data set is empty, or cannot be read at any place.
    """
    if tasks is None:
        tasks = _tasks(recipe)
    elif list(tasks) != list(recipe.tasks):
        raise RecipeError(
            f"tasks given: {', '.join(tasks)}; the recipe has: {', '.join(recipe.tasks)}",
            hint="name the same tasks in the same order in the recipe; it holds their weights",
        )
    _check_weights(recipe, tasks)
    train_data = load_split(recipe, "train", reporter) if train_data is None else train_data
    val_data = load_split(recipe, "val", reporter) if val_data is None else val_data
    for split, data in (("train", train_data), ("val", val_data)):
        if not isinstance(data, MultiTaskDataset):
            raise DataError(
                f"the {split} split of `{recipe.data.name}` is a {type(data).__name__} that can "
                "only be gone through, expected __len__ and __getitem__: the order of samples "
                "depends on the seed and the epoch alone",
                hint='archives of millions of samples are read at any place: data.name = "shards"',
            )
        if len(data) == 0:
            raise DataError(f"the {split} split of `{recipe.data.name}` is empty")
    if model is None:
        model = initial_network(recipe, tasks)
        if recipe.model.pretrained is not None:
            images = recipe.model.pretrained_images
            for line in load_pretrained(model, recipe.model.pretrained, images=images).lines():
                reporter.message(line)
    if recipe.train.init is not None:
        state, how = load_weights(recipe.train.init)
        report = fit_weights(model, state, source=f"`{recipe.train.init}` ({how})")
        reporter.message(report.summary())
    return Parts(model, train_data, val_data, dict(tasks))


def without_init(recipe: Recipe) -> Recipe:
    """Return the recipe without its files of first weights: a checkpoint takes their place."""
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"init": None}),
            "model": recipe.model.model_copy(update={"pretrained": None}),
        }
    )


def initial_network(recipe: Recipe, tasks: Mapping[str, Task]) -> nn.Module:
    """Build the recipe's network with the first weights of its seed."""
    seed_everything(recipe.seed)
    channels = {name: task.num_channels for name, task in tasks.items()}
    return build(recipe.model.name, channels, recipe.model.args)


def load_split(recipe: Recipe, split: str, reporter: Reporter) -> MultiTaskDataset:
    """Return a split of the recipe's data; ``reporter`` hears of images that are made ready."""
    factory = find_part(recipe.data.name, DATASETS, "data set")
    what = f"data set `{recipe.data.name}`"
    args = checked_arguments(factory, recipe.data.args, what=what)
    if "progress" in inspect.signature(factory).parameters and "progress" not in args:
        args["progress"] = partial(reporter.preparing, f"{split} images")
    return call_part(recipe.data.name, factory, split, **args)


def _tasks(recipe: Recipe) -> dict[str, Task]:
    """Return the recipe's tasks in its order, by their kind or as the data set declares them."""
    tasks: dict[str, Task] = {}
    declared: Mapping[str, Task] | None = None
    for name, section in recipe.tasks.items():
        if section.kind is not None:
            tasks[name] = make_task(name, section.kind, section.args)
            continue
        if section.args:
            raise RecipeError(
                f"`tasks.{name}.args` without `tasks.{name}.kind`: "
                "the data set's own task takes no arguments",
                hint=f"set tasks.{name}.kind too",
            )
        declared = _declared(recipe, name) if declared is None else declared
        if name not in declared:
            raise RecipeError(
                f"data set `{recipe.data.name}` has no task `{name}`{nearest(name, declared)}",
                hint=f"it has: {', '.join(declared)}",
            )
        tasks[name] = declared[name]
    return tasks


def _check_weights(recipe: Recipe, tasks: Mapping[str, Task]) -> None:
    """Refuse a weight that no loss would carry, and a run that learns nothing."""
    for name, task in tasks.items():
        if not task.trained and "weight" in recipe.tasks[name].model_fields_set:
            raise RecipeError(
                f"`tasks.{name}.weight` is set, but a task of kind `{task.kind}` has no loss",
                hint="it is made of the outputs of other tasks: weigh those",
            )
    if not any(task.trained for task in tasks.values()):
        raise RecipeError(f"no task of {', '.join(tasks)} has a loss, so there is nothing to learn")


def _declared(recipe: Recipe, name: str) -> Mapping[str, Task]:
    factory = find_part(recipe.data.name, DATASETS, "data set")
    if not hasattr(factory, "declared_tasks"):
        raise RecipeError(
            f"`tasks.{name}.kind` is missing, and `{recipe.data.name}` declares no tasks itself",
            hint=f"set the kind: {', '.join(KINDS)}, or package.module:Class",
        )
    declared: Mapping[str, Task] = factory.declared_tasks(**recipe.data.args)
    return declared


def run_info(
    recipe: Recipe, parts: Parts, folder: Path, device: str, epoch: int, step: int
) -> RunInfo:
    """Return what is known about a run that starts after so many epochs, and steps of the next."""
    return RunInfo(
        folder=folder,
        recipe=recipe.name,
        device=device,
        precision=recipe.train.precision,
        epochs=recipe.train.epochs,
        first_epoch=epoch,
        first_step=step,
        num_train=len(parts.train_data),
        num_val=len(parts.val_data),
        num_params=sum(parameter.numel() for parameter in parts.model.parameters()),
        tasks=tuple(parts.tasks),
    )
