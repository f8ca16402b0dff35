"""Where a network to compress comes from: a checkpoint of ours, or anybody's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl import recipe as recipes
from compactmtl.checkpoint import build_model, load_checkpoint
from compactmtl.data import DATASETS
from compactmtl.errors import CompactMTLError, PartError, UsageError
from compactmtl.files import sha256
from compactmtl.parts import find_part, import_part, is_foreign
from compactmtl.recipe import DataSection
from compactmtl.weights import fit_weights, load_weights

NUM_IMAGES = 8
"""How many images verification, export and report share."""


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


def load_source(
    path: Path,
    *,
    model: str | None = None,
    recipe: recipes.Recipe | None = None,
    inputs: Sequence[str] = (),
) -> Source:
    """Load a network: from our own checkpoint where the file is one, else from weights.

    Args:
        path: A checkpoint, a run folder, or any file of weights.
        model: ``package.module:factory``; needed for weights, and for a checkpoint whose network
            is the user's own.
        recipe: The user's recipe; foreign names in it are imported.
        inputs: Shapes as ``image=1x3x384x640``.

    Raises:
        CompactMTLError: As the file demands; see the subclasses.
    """
    shapes = parse_inputs(inputs)
    if model is not None and not _is_checkpoint(path):
        return from_weights(path, model, shapes)
    return from_checkpoint(path, model=model, recipe=recipe, shapes=shapes)


def _is_checkpoint(path: Path) -> bool:
    """Tell whether a file is a checkpoint of ours, whatever else is wrong with the call."""
    try:
        load_checkpoint(path / "ckpt.pt" if path.is_dir() else path)
    except CompactMTLError:
        return False
    return True


def parse_inputs(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Parse ``image=1x3x384x640`` arguments into shapes by name.

    Raises:
        UsageError: One is not of this form.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, equals, sizes = text.partition("=")
        parts = sizes.lower().split("x")
        if not name or not equals or not all(part.isdigit() and int(part) > 0 for part in parts):
            raise UsageError(f"--input {text!r}: expected NAME=SHAPE, as in image=1x3x384x640")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def from_weights(path: Path, model: str, shapes: Mapping[str, tuple[int, ...]]) -> Source:
    """Load anybody's weights into the network that ``package.module:factory`` makes.

    Raises:
        UsageError: No shapes are given.
        WeightsError: The weights do not fit; the message has the nearest name.
    """
    if not shapes:
        raise UsageError("--model needs --input, as in --input image=1x3x384x640")
    if not is_foreign(model):
        raise PartError(
            f"--model `{model}`: expected package.module:factory, a function that makes the network"
        )
    network = import_part(model)()
    if not isinstance(network, nn.Module):
        raise PartError(
            f"`{model}` returned a {type(network).__name__}, expected a torch.nn.Module"
        )
    state, how = load_weights(path)
    fit = fit_weights(network, state, source=f"`{path.name}` ({how})")
    return Source(
        model=network,
        example_inputs=_noise(shapes),
        parent={"file": path.name, "sha256": sha256(path)},
        input_names=list(shapes),
        how=fit.summary(),
    )


def from_checkpoint(
    path: Path,
    *,
    model: str | None = None,
    recipe: recipes.Recipe | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Source:
    """Load a checkpoint that ``compactmtl train`` wrote.

    Args:
        path: The ``ckpt.pt``, or its run folder.
        model: ``package.module:factory`` of a network of the user's own.
        recipe: The recipe, where the user gave it; only then are foreign names in it imported.
        shapes: Input shapes; None: those of the data set's images.

    Raises:
        RefusedError: The checkpoint names code of the user's own, and the user did not.
    """
    path = path / "ckpt.pt" if path.is_dir() else path
    checkpoint = load_checkpoint(path)
    if recipe is not None and model is None:
        model = recipe.model.name
    factory = import_part(model) if model is not None and is_foreign(model) else None
    network = build_model(checkpoint, factory=factory)
    trusted = recipe or recipes.parse(checkpoint.recipe, source="the checkpoint's recipe")
    images, origin = _images(trusted.data, is_trusted=recipe is not None)
    if not images and not shapes:
        raise UsageError(
            f"no image size: {origin}",
            hint="give --data FOLDER, --recipe FILE or --input image=1x3x96x128",
        )
    example = _noise(shapes) if shapes else (images[0],)
    return Source(
        model=network,
        example_inputs=example,
        images=[image for image in images if image.shape[1:] == example[0].shape[1:]],
        origin=origin if images else "seeded noise",
        tasks=checkpoint.tasks,
        recipe=checkpoint.recipe,
        parent={"file": path.name, "sha256": sha256(path)},
        input_names=list(shapes) if shapes else ["image"],
        run=path.parent,
        how=f"epoch {checkpoint.epoch} of recipe {trusted.name}, phase {checkpoint.phase}",
    )


def _images(section: DataSection, *, is_trusted: bool) -> tuple[list[Tensor], str]:
    """Return evenly spread validation images, or none and the reason."""
    if is_foreign(section.name) and not is_trusted:
        return [], f"data set `{section.name}` is the user's own code, and no --recipe names it"
    try:
        dataset = find_part(section.name, DATASETS, "data set")("val", **section.args)
    except CompactMTLError as error:
        return [], error.message
    step = max(len(dataset) // NUM_IMAGES, 1)
    indices = range(0, min(len(dataset), step * NUM_IMAGES), step)
    return [dataset[i][0].unsqueeze(0) for i in indices], f"validation images of {section.name}"


def _noise(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(shape, generator=generator) for shape in shapes.values())
