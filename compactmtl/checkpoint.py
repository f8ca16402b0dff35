"""A training checkpoint, `ckpt.pt`: all that resumes a run or rebuilds its network."""

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl import recipe as recipes
from compactmtl.errors import (
    CorruptFileError,
    MissingFileError,
    RefusedError,
    UnsafeFileError,
)
from compactmtl.files import write_bytes
from compactmtl.models.build import build
from compactmtl.overparam import expand_like
from compactmtl.parts import call_part, is_foreign
from compactmtl.weights.archive import DAMAGE, PICKLE, ZIP, check_archive, first_line, read_head
from compactmtl.weights.fit import explain_misfit

FORMAT_VERSION = 1

_COPY = "use an earlier copy, or train again"
_OTHER_WEIGHTS = (
    "weights of another program: compactmtl compress FILE --model package.module:name "
    "--input image=1x3x96x128"
)


@dataclass
class Checkpoint:
    """The state of a run after a step, as plain data and tensors.

    Every epoch draws its random numbers from (seed, epoch): only within one is their state kept.
    """

    recipe: dict[str, Any]
    """``Recipe.to_dict()``."""
    tasks: dict[str, dict[str, Any]]
    """``Task.spec()`` per task, in the order of the network's outputs."""
    model: dict[str, Tensor]
    """The network's state dict, with the factors if it is expanded."""
    expansion: dict[str, Any] | None
    """``expansion_spec``; None for plain layers."""
    epoch: int
    """Finished epochs."""
    phase: str
    """The phase of the last step."""
    optimizer: dict[str, Any]
    """State dicts of all optimisers by name."""
    schedule: dict[str, Any]
    """State of the sparsity schedule; empty without one."""
    history: list[dict[str, Any]]
    """One record per finished epoch, as in `log.jsonl`."""
    seed: int
    metrics: dict[str, Any] = field(default_factory=dict)
    """``baseline`` and ``milestones``, as in `run.json`."""
    weighting: dict[str, Any] = field(default_factory=dict)
    """State dict of the weighting of losses."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the gradient scaler; empty unless precision is 16-mixed."""
    position: dict[str, Any] = field(default_factory=dict)
    """Where in the epoch after the finished ones it was written; empty at the end of an epoch."""
    format_version: int = FORMAT_VERSION


_BY_HAND = "it was not written by `compactmtl train`, or was changed since"

_TYPES: dict[str, type | tuple[type, ...]] = {
    "recipe": dict,
    "tasks": dict,
    "model": dict,
    "expansion": (dict, type(None)),
    "epoch": int,
    "phase": str,
    "optimizer": dict,
    "schedule": dict,
    "weighting": dict,
    "history": list,
    "seed": int,
    "metrics": dict,
    "scaler": dict,
    "position": dict,
}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: a reader sees the earlier file or this one, whole.

    Raises:
        WriteError: The folder is not writable, or the disk is full.
    """
    document = {item.name: getattr(checkpoint, item.name) for item in fields(checkpoint)}
    content = io.BytesIO()
    torch.save(document, content)
    write_bytes(path, content.getbuffer())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU without running any code that it may hold.

    Raises:
        MissingFileError: There is no such file, or it is a folder, or it is not readable.
        CorruptFileError: Empty, truncated, damaged, no checkpoint, or of another format version.
        UnsafeFileError: It wants to run code while it loads.
    """
    _check_container(path)
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = _unsafe_names(path)
        if names:
            raise UnsafeFileError(
                f"`{path}` wants to run code while it loads ({', '.join(names)}); "
                "expected tensors and plain data only",
                hint=f"only what `compactmtl train` wrote is opened here; {_OTHER_WEIGHTS}",
            ) from error
        raise CorruptFileError(f"`{path}` is damaged: {first_line(error)}", hint=_COPY) from error
    except DAMAGE as error:
        raise CorruptFileError(f"`{path}` is damaged: {first_line(error)}", hint=_COPY) from error
    return _from_document(path, document)


def build_model(
    checkpoint: Checkpoint, *, factory: Callable[..., nn.Module] | None = None
) -> nn.Module:
    """Rebuild the network of a checkpoint with its weights, expanded if it was saved so.

    Args:
        checkpoint: What ``load_checkpoint`` returned.
        factory: Called as ``factory(tasks, **args)`` instead of the network the recipe names.

    Raises:
        RefusedError: The recipe names a network of the user's own and ``factory`` is None; a name
            out of a file is never imported.
        WeightsError: The weights do not fit the network.
    """
    section = recipes.parse(checkpoint.recipe, source="the checkpoint's recipe").model
    if factory is None and is_foreign(section.name):
        raise RefusedError(
            f"the checkpoint names a network outside compactmtl, `{section.name}`, and names out "
            "of a file are not imported",
            hint=f"if you trust it, say so: --model {section.name}",
        )
    channels = {name: int(spec["num_channels"]) for name, spec in checkpoint.tasks.items()}
    with torch.random.fork_rng(devices=()):  # weights are drawn, then overwritten
        if factory is None:
            model = build(section.name, channels, section.args)
        else:
            model = call_part(section.name, factory, channels, **section.args)
        if checkpoint.expansion is not None:
            expand_like(model, checkpoint.expansion)
    try:
        model.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        misfit = explain_misfit(
            checkpoint.model, model.state_dict(), source="the checkpoint", network=section.name
        )
        misfit.hint = "was the network's code, or were its arguments, changed since the run?"
        raise misfit from error
    return model


def _check_container(path: Path) -> None:
    """Refuse what is not an intact zip archive with one `data.pkl`."""
    if path.is_dir():
        inside = path / "ckpt.pt"
        hint = f"did you mean `{inside}`?" if inside.is_file() else ""
        raise MissingFileError(f"`{path}` is a folder, expected a checkpoint file", hint=hint)
    head = read_head(path)
    if head.startswith(PICKLE):
        raise UnsafeFileError(
            f"`{path}` is a bare pickle, which may run code while it loads; "
            "expected a checkpoint of compactmtl",
            hint=_OTHER_WEIGHTS,
        )
    if not head.startswith(ZIP) and not ZIP.startswith(head):
        raise CorruptFileError(
            f"`{path}` is not a checkpoint of compactmtl (starts with {head[:4]!r})",
            hint=_OTHER_WEIGHTS,
        )
    names = check_archive(path)
    if sum(name.endswith("/data.pkl") for name in names) != 1:
        raise CorruptFileError(f"`{path}` is a zip archive but no checkpoint: it has no data.pkl")


def _unsafe_names(path: Path) -> list[str]:
    """Return the functions and classes a file asks for beyond tensors and plain data."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except (pickle.UnpicklingError, *DAMAGE):
        return []


def _from_document(path: Path, document: object) -> Checkpoint:
    if not isinstance(document, dict) or "format_version" not in document:
        raise CorruptFileError(
            f"`{path}` is not a checkpoint of compactmtl: it has no format_version",
            hint=_OTHER_WEIGHTS,
        )
    version = document["format_version"]
    if version != FORMAT_VERSION:
        raise CorruptFileError(
            f"`{path}` has checkpoint format {version!r}, this release reads {FORMAT_VERSION}",
            hint="use the release of compactmtl that wrote it",
        )
    for name, expected in _TYPES.items():
        if name not in document:
            raise CorruptFileError(f"`{path}`: the checkpoint lacks `{name}`", hint=_BY_HAND)
        if not isinstance(document[name], expected):
            raise _odd(path, name, document[name])
    for name, spec in document["tasks"].items():
        if not (isinstance(spec, dict) and isinstance(spec.get("num_channels"), int)):
            raise _odd(path, f"tasks.{name}", spec)
    for name, weight in document["model"].items():
        if not isinstance(weight, Tensor):
            raise _odd(path, f"model.{name}", weight)
    return Checkpoint(**{item.name: document[item.name] for item in fields(Checkpoint)})


def _odd(path: Path, name: str, value: object) -> CorruptFileError:
    return CorruptFileError(
        f"`{path}`: `{name}` is a {type(value).__name__} that no checkpoint holds", hint=_BY_HAND
    )
