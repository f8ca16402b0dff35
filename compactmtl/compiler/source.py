"""Where a network to compress comes from: a checkpoint of ours, or anybody's weights."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl import recipe as recipes
from compactmtl.checkpoint import Checkpoint, build_model, load_checkpoint
from compactmtl.compact import REAL_IMAGES
from compactmtl.compiler.part import inputs_of_part
from compactmtl.data import DATASETS
from compactmtl.errors import (
    CompactMTLError,
    CorruptFileError,
    MissingFileError,
    PartError,
    UnsafeFileError,
    UsageError,
)
from compactmtl.files import sha256
from compactmtl.parts import call_part, find_part, import_part, is_foreign, nearest
from compactmtl.recipe import DataSection
from compactmtl.weights import fit_weights, load_weights

NUM_IMAGES = 8
"""How many images verification, export and report share."""

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
"""Types of numbers that an input may have."""


@dataclass
class Source:
    """A network with what is known about it.

    Attributes:
        model: The network with its weights, perhaps overparameterised.
        example_inputs: Inputs of the size it is captured at.
        images: Real images of that size, batch 1 each; empty where none are at hand.
        origin: Where the images come from, in words.
        tasks: Per task its specification.
        recipe: The recipe of the run, where there is one.
        parent: File name and SHA-256.
        input_names: Names of the inputs; None: those of the network's ``forward``.
        run: The run folder, where there is one.
        how: How the weights were found, in words.
    """

    model: nn.Module
    example_inputs: tuple[Tensor, ...]
    images: list[Tensor] = field(default_factory=list)
    origin: str = "seeded noise"
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    recipe: dict[str, Any] | None = None
    parent: dict[str, str] = field(default_factory=dict)
    input_names: list[str] | None = None
    how: str = ""
    run: Path | None = None

    def run_from(self, folder: Path) -> str:
        """Return the path of the run folder relative to another folder; "" where there is none."""
        return os.path.relpath(self.run, folder) if self.run else ""

    def images_of(self, part: str | None) -> Sequence[Tensor | tuple[Tensor, ...]]:
        """Return the images, or what a part of the network receives for them."""
        if part is None:
            return self.images
        return inputs_of_part(self.model, part, self.images or [self.example_inputs])


def load_source(
    path: Path,
    *,
    model: str | None = None,
    recipe: recipes.Recipe | None = None,
    inputs: Sequence[str] = (),
    part: str | None = None,
) -> Source:
    """Load a network: from our own checkpoint where the file is one, else from weights.

    Args:
        path: A checkpoint, a run folder, or any file of weights.
        model: ``package.module:factory``; needed for weights, and for a checkpoint whose network
            is the user's own.
        recipe: The user's recipe; foreign names in it are imported.
        inputs: As ``image=1x3x384x640``.
        part: The part that is to be compiled: names and tasks of the whole are not its own.

    Raises:
        CompactMTLError: As the file demands; see the subclasses.
    """
    source = _load(path, model=model, recipe=recipe, examples=example_inputs(inputs))
    return source if part is None else replace(source, tasks={}, input_names=None)


def _load(
    path: Path,
    *,
    model: str | None,
    recipe: recipes.Recipe | None,
    examples: Mapping[str, Tensor],
) -> Source:
    if model is not None and not is_foreign(model):
        raise PartError(
            f"--model `{model}`: expected package.module:factory, a function without arguments",
            hint="as in --model mynet:build",
        )
    if path.suffix == ".pt2":
        raise UsageError(
            f"`{path}` is a captured program, expected a checkpoint or weights",
            hint="compress what it was made from; `compactmtl export` takes the folder it lies in",
        )
    file = path / "ckpt.pt" if path.is_dir() else path
    try:
        checkpoint = load_checkpoint(file)
    except (CorruptFileError, UnsafeFileError) as error:
        return _from_no_checkpoint(file, error, model=model, recipe=recipe, examples=examples)
    return from_checkpoint(file, checkpoint, model=model, recipe=recipe, examples=examples)


def _from_no_checkpoint(
    path: Path,
    error: CompactMTLError,
    *,
    model: str | None,
    recipe: recipes.Recipe | None,
    examples: Mapping[str, Tensor],
) -> Source:
    """Load weights; where the network is not named, say whether that is all that is missing."""
    if model is not None and recipe is None:
        return from_weights(path, model, examples)
    try:
        _, how = load_weights(path)
    except CompactMTLError:
        raise error from None  # neither weights nor a checkpoint
    if recipe is not None:
        raise UsageError(
            f"`{path}` holds weights ({how}); --recipe needs a checkpoint of `compactmtl train`",
            hint="name the network instead: --model package.module:factory",
        ) from error
    raise UsageError(
        f"`{path}` holds weights ({how}), but not the network they belong to",
        hint="name it: --model package.module:factory --input image=1x3x384x640",
    ) from error


def example_inputs(texts: Sequence[str]) -> dict[str, Tensor]:
    """Return seeded inputs by name, for arguments as ``image=1x3x384x640`` or ``index=1x8:int64``.

    Floats lie in [0, 1); whole numbers are 0 and 1, which are valid as indices nearly everywhere.

    Raises:
        UsageError: One is not of this form.
    """
    generator = torch.Generator().manual_seed(0)
    examples: dict[str, Tensor] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        sizes, colon, dtype = value.partition(":")
        parts = sizes.lower().split("x")
        is_shape = all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts)
        if not name.strip() or not equals or not is_shape:
            raise UsageError(f"--input {text!r}: expected NAME=SHAPE, as in image=1x3x384x640")
        if colon and dtype not in DTYPES:
            raise UsageError(
                f"--input {text!r}: no type of numbers called `{dtype}`{nearest(dtype, DTYPES)}",
                hint=f"expected one of {', '.join(DTYPES)}, as in index=1x8:int64",
            )
        if name in examples:
            raise UsageError(
                f"--input {text!r}: `{name}` is given twice", hint="say it once for each input"
            )
        shape, kind = tuple(int(part) for part in parts), DTYPES[dtype or "float32"]
        examples[name] = (
            torch.rand(shape, generator=generator).to(kind)
            if kind.is_floating_point
            else torch.randint(0, 2, shape, generator=generator).to(kind)
        )
    return examples


def from_weights(path: Path, model: str, examples: Mapping[str, Tensor]) -> Source:
    """Load anybody's weights into the network that ``package.module:factory`` makes.

    Raises:
        UsageError: No example is given.
        WeightsError: The weights do not fit; the message has the nearest name.
    """
    state, how = load_weights(path)  # first: a damaged checkpoint of ours comes here, too
    if not examples:
        raise UsageError(
            f"--model with `{path}`, which is no checkpoint of compactmtl, needs the input's shape",
            hint="say it as in --input image=1x3x384x640",
        )
    network = _make(model)
    fit = fit_weights(network, state, source=f"`{path.name}` ({how})")
    examples = _ordered(network, examples)
    return Source(
        model=network,
        example_inputs=tuple(examples.values()),
        parent={"file": path.name, "sha256": sha256(path)},
        input_names=list(examples),
        how=fit.summary(),
    )


def load_network(model: str, inputs: Sequence[str]) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Make a network with the weights its factory gives it, and seeded inputs for it.

    Args:
        model: ``package.module:factory``.
        inputs: As ``image=1x3x384x640`` or ``index=1x8:int64``.

    Raises:
        PartError: There is no such factory, or it makes no network.
        UsageError: An input is not of this form.
    """
    network = _make(model)
    return network, tuple(_ordered(network, example_inputs(inputs)).values())


def _make(model: str) -> nn.Module:
    network = call_part(model, import_part(model))
    if not isinstance(network, nn.Module):
        raise PartError(
            f"`{model}` returned a {type(network).__name__}, expected a torch.nn.Module"
        )
    return network


def _ordered(network: nn.Module, examples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the examples in the order of ``forward``, where they carry its parameters' names."""
    parameters = list(inspect.signature(network.forward).parameters)
    if set(examples) <= set(parameters):
        return {name: examples[name] for name in parameters if name in examples}
    return dict(examples)


def from_checkpoint(
    path: Path,
    checkpoint: Checkpoint,
    *,
    model: str | None = None,
    recipe: recipes.Recipe | None = None,
    examples: Mapping[str, Tensor] | None = None,
) -> Source:
    """Rebuild the network of a checkpoint that ``compactmtl train`` wrote.

    Args:
        path: The ``ckpt.pt``.
        checkpoint: What is in it.
        model: ``package.module:factory`` of a network of the user's own.
        recipe: The recipe, where the user gave it; only then are foreign names in it imported.
        examples: Inputs by name; None: the data set's images.

    Raises:
        RefusedError: The checkpoint names code of the user's own, and the user did not.
    """
    if path.is_dir() and not (path / "ckpt.pt").is_file():
        raise MissingFileError(
            f"`{path}` is a folder without ckpt.pt, expected a run folder or a file of weights",
            hint="`compactmtl runs` lists the runs; one that has no ckpt.pt finished no epoch",
        )
    if recipe is not None and model is None:
        model = recipe.model.name
    factory = import_part(model) if model is not None and is_foreign(model) else None
    network = build_model(checkpoint, factory=factory)
    trusted = recipe or recipes.parse(checkpoint.recipe, source="the checkpoint's recipe")
    images, origin = _images(trusted.data, is_trusted=recipe is not None)
    if not images and not examples:
        raise UsageError(
            f"no image size: {origin}",
            hint="give --data FOLDER, --recipe FILE or --input image=1x3x96x128",
        )
    own = _ordered(network, examples or {})
    example = tuple(own.values()) or (images[0],)
    images = [image for image in images if image.shape[1:] == example[0].shape[1:]]
    return Source(
        model=network,
        example_inputs=example,
        images=images,
        origin=origin if images else "seeded noise",
        tasks=checkpoint.tasks,
        recipe=checkpoint.recipe,
        parent={"file": path.name, "sha256": sha256(path)},
        input_names=list(own) or ["image"],
        run=path.parent,
        how=f"{path.name}, epoch {checkpoint.epoch} ({checkpoint.phase}) of recipe {trusted.name}",
    )


def _images(section: DataSection, *, is_trusted: bool) -> tuple[list[Tensor], str]:
    """Return evenly spread validation images, or none and the reason."""
    if is_foreign(section.name) and not is_trusted:
        return [], f"data set `{section.name}` is the user's own code, and no --recipe names it"
    try:
        factory = find_part(section.name, DATASETS, "data set")
        dataset = call_part(section.name, factory, "val", **section.args)
    except CompactMTLError as error:
        return [], error.message
    step = max(len(dataset) // NUM_IMAGES, 1)
    indices = range(0, min(len(dataset), step * NUM_IMAGES), step)
    images = [call_part(section.name, dataset.__getitem__, i)[0].unsqueeze(0) for i in indices]
    return images, f"{REAL_IMAGES}{section.name}"
