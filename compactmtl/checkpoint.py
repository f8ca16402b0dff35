"""A training checkpoint, `ckpt.pt`: all that resumes a run or rebuilds its network."""

import io
import pickle
import struct
import zipfile
import zlib
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
    WeightsError,
)
from compactmtl.files import atomic_write
from compactmtl.models.build import build
from compactmtl.overparam import expand_like
from compactmtl.parts import is_foreign

FORMAT_VERSION = 1

_BARE_PICKLE = b"\x80"
_ZIP = b"PK\x03\x04"

# What a reader meets in a damaged file; none of them says "damaged" by itself.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
)


@dataclass
class Checkpoint:
    """The state of a run after a whole epoch, as plain data and tensors.

    No state of a random generator is kept: every epoch draws its own from (seed, epoch).
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
    """The phase of the last finished epoch."""
    optimizer: dict[str, Any]
    """State dicts of all optimisers by name."""
    schedule: dict[str, Any]
    """State of the sparsity schedule; empty without one."""
    history: list[dict[str, Any]]
    """One record per finished epoch, as in `log.jsonl`."""
    seed: int
    metrics: dict[str, Any] = field(default_factory=dict)
    """``baseline`` and ``milestones``, as in `run.json`."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the gradient scaler; empty unless precision is 16-mixed."""
    format_version: int = FORMAT_VERSION


_TYPES: dict[str, type | tuple[type, ...]] = {
    "recipe": dict,
    "tasks": dict,
    "model": dict,
    "expansion": (dict, type(None)),
    "epoch": int,
    "phase": str,
    "optimizer": dict,
    "schedule": dict,
    "history": list,
    "seed": int,
    "metrics": dict,
    "scaler": dict,
}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: a reader sees the earlier file or this one, whole.

    Raises:
        WriteError: The folder is not writable, or the disk is full.
    """
    document = {item.name: getattr(checkpoint, item.name) for item in fields(checkpoint)}
    content = io.BytesIO()  # torch's own writer turns a full disk into a RuntimeError
    torch.save(document, content)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getbuffer())


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
                hint="only checkpoints written by `compactmtl train` are opened here",
            ) from error
        raise CorruptFileError(f"`{path}` is damaged: {_first_line(error)}") from error
    except _DAMAGE as error:
        raise CorruptFileError(f"`{path}` is damaged: {_first_line(error)}") from error
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
            model = factory(channels, **section.args)
        if checkpoint.expansion is not None:
            expand_like(model, checkpoint.expansion)
    try:
        model.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        raise WeightsError(
            f"the checkpoint's weights do not fit `{section.name}`: {_first_line(error)}",
            hint="was the network's code or its arguments changed since the run?",
        ) from error
    return model


def _check_container(path: Path) -> None:
    """Refuse what is not an intact zip archive with one `data.pkl`.

    torch's own reader does not verify checksums, so a flipped bit would load as a wrong weight.
    """
    if path.is_dir():
        inside = path / "ckpt.pt"
        hint = f"did you mean `{inside}`?" if inside.is_file() else ""
        raise MissingFileError(f"`{path}` is a folder, expected a checkpoint file", hint=hint)
    try:
        with path.open("rb") as handle:
            head = handle.read(4)
    except FileNotFoundError as error:
        raise MissingFileError(f"no such checkpoint: `{path}`") from error
    except OSError as error:
        raise MissingFileError(f"cannot read `{path}`: {error.strerror}") from error
    again = "use an earlier copy, or train again"
    if not head:
        raise CorruptFileError(f"`{path}` is empty (0 bytes), expected a checkpoint", hint=again)
    if head.startswith(_BARE_PICKLE):
        raise UnsafeFileError(
            f"`{path}` is a bare pickle, which may run code while it loads; "
            "expected a checkpoint of compactmtl",
            hint="where you trust it, load it with torch and save its weights as safetensors",
        )
    if head != _ZIP:
        kind = "a truncated" if _ZIP.startswith(head) else "not a"
        raise CorruptFileError(f"`{path}` is {kind} checkpoint (starts with {head!r})", hint=again)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            bad = archive.testzip()
    except zipfile.BadZipFile as error:
        raise CorruptFileError(
            f"`{path}` is truncated or damaged ({path.stat().st_size} bytes): {error}", hint=again
        ) from error
    except (*_DAMAGE, NotImplementedError) as error:
        raise CorruptFileError(f"`{path}` is damaged: {_first_line(error)}", hint=again) from error
    if bad is not None:
        raise CorruptFileError(f"`{path}` is damaged: `{bad}` fails its checksum", hint=again)
    if sum(name.endswith("/data.pkl") for name in names) != 1:
        raise CorruptFileError(f"`{path}` is a zip archive but no checkpoint: it has no data.pkl")


def _unsafe_names(path: Path) -> list[str]:
    """Return the functions and classes a file asks for beyond tensors and plain data."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except (pickle.UnpicklingError, *_DAMAGE):
        return []


def _from_document(path: Path, document: object) -> Checkpoint:
    if not isinstance(document, dict) or "format_version" not in document:
        raise CorruptFileError(
            f"`{path}` is not a checkpoint of compactmtl: it has no format_version",
            hint="weights of another program: compactmtl compress FILE --model package.module:name",
        )
    version = document["format_version"]
    if version != FORMAT_VERSION:
        raise CorruptFileError(
            f"`{path}` has checkpoint format {version!r}, this release reads {FORMAT_VERSION}",
            hint="use the release of compactmtl that wrote it",
        )
    for name, expected in _TYPES.items():
        if name not in document:
            raise CorruptFileError(f"`{path}`: the checkpoint lacks `{name}`")
        if not isinstance(document[name], expected):
            got = type(document[name]).__name__
            raise CorruptFileError(f"`{path}`: `{name}` is a {got}, which no checkpoint holds")
    return Checkpoint(**{item.name: document[item.name] for item in fields(Checkpoint)})


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
