"""Write the ``compact/`` folder: all of it, or nothing."""

import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from compactmtl.compact import CompactModel, InputSpec
from compactmtl.compiler.call import Inputs
from compactmtl.compiler.capture import as_inputs
from compactmtl.compiler.replay import recorded
from compactmtl.environment import environment
from compactmtl.errors import CompactMTLError, UsageError, WriteError
from compactmtl.files import (
    make_folder,
    sha256,
    uninterrupted,
    write_bytes,
    write_error,
    write_json,
    write_text,
)
from compactmtl.lineage import MODEL, VARIANTS
from compactmtl.pt2 import read_manifest

FORMAT_VERSION = 1
FILES = (
    "model.pt2",
    "dense.pt2",
    "weights.safetensors",
    "plan.json",
    "report.json",
    "why.json",
    "inputs.npz",
)


def write_folder(
    compact: CompactModel,
    folder: Path,
    *,
    images: Sequence[Tensor | Inputs],
    origin: str,
    run: str = "",
    variants: Mapping[str, CompactModel] | None = None,
) -> dict[str, Any]:
    """Write compact model, dense twin, weights, plan, report and stored inputs.

    A folder made from the same source is updated file by file; one made from another source is
    moved to ``<folder>.previous`` first, artefacts and all.

    Args:
        compact: What to write.
        folder: Where to.
        images: Inputs for export, bench and report to share, one tensor each, or one tensor per
            input of the model; where there are none, seeded noise is stored.
        origin: Where they come from, in words.
        run: Path of the run folder it comes from, relative to ``folder``.
        variants: The same network by other plans, by name; each goes to ``variants/<name>/``, and
            those of an earlier call go away.

    Returns:
        The content of ``report.json``.

    Raises:
        UsageError: The folder holds something else than a compact model.
        WriteError: The folder is not writable, or the disk is full; what was there is unchanged.
    """
    return write_whole(
        folder,
        lambda new: fill(compact, new, images, origin, run, variants or {}),
        is_update=_same_source(folder, compact),
    )


def write_whole(
    folder: Path, fill_new: Callable[[Path], dict[str, Any]], *, is_update: bool
) -> dict[str, Any]:
    """Write a compact folder: all of it, or nothing.

    Args:
        folder: Where to.
        fill_new: Writes everything into an empty folder, and returns the report.
        is_update: Whether what lies there is updated file by file; else it moves to
            ``<folder>.previous``.

    Raises:
        UsageError: The folder holds something else than a compact model.
        WriteError: The folder is not writable, or the disk is full; what was there is unchanged.
    """
    check_folder(folder)
    folder = folder.absolute()  # `.` has no name to put another beside
    make_folder(folder.parent)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
            new = make_folder(Path(name) / "new")
            document = fill_new(new)
            with uninterrupted():
                _swap(new, folder, is_update=is_update)
    except WriteError as error:  # it names the temporary folder, which is gone
        raise write_error(folder, cast(OSError, error.__cause__)) from error
    except OSError as error:
        raise write_error(folder, error) from error
    return document


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier compact model.

    Raises:
        UsageError: It is a file, or holds files that ``compress`` would push aside.
    """
    hint = "name a new folder with -o"
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"`{folder}` is a file, expected a folder to write to", hint=hint)
    taken = next(folder.iterdir(), None) if folder.is_dir() else None
    if taken is not None and not any((folder / file).is_file() for file in FILES):
        raise UsageError(
            f"`{folder}` holds other files (`{taken.name}`) and no compact model, expected a new "
            "or empty folder, or one that `compactmtl compress` wrote",
            hint=hint,
        )


def _swap(new: Path, folder: Path, *, is_update: bool) -> None:
    """Move the new files to where they belong; only renames, which need no space."""
    if is_update:
        for file in FILES:
            (new / file).replace(folder / file)
        if (folder / VARIANTS).exists():
            (folder / VARIANTS).rename(new.with_name("old variants"))  # goes with the folder
        if (new / VARIANTS).exists():
            (new / VARIANTS).rename(folder / VARIANTS)
        return
    if folder.exists() and any(folder.iterdir()):  # a model of another source
        previous = folder.with_name(folder.name + ".previous")
        if previous.exists():
            previous.rename(new.with_name("old"))  # goes with the temporary folder
        folder.rename(previous)
    new.rename(folder)


def fill(
    compact: CompactModel,
    folder: Path,
    images: Sequence[Tensor | Inputs],
    origin: str,
    run: str,
    variants: Mapping[str, CompactModel],
) -> dict[str, Any]:
    """Write all files of a compact model into an empty folder; see ``write_folder``."""
    compact.save(folder / "model.pt2")
    compact.save(folder / "dense.pt2", which="dense")
    weights = {name: t.detach().contiguous() for name, t in compact.module.state_dict().items()}
    write_bytes(folder / "weights.safetensors", save(weights))
    write_text(folder / "plan.json", json.dumps(recorded(compact), allow_nan=False) + "\n")
    report = compact.report.to_dict()
    parent = compact.manifest.parent
    document = {
        "format_version": FORMAT_VERSION,
        "source": {**parent, "run": run},
        "model": {"file": "model.pt2", "sha256": sha256(folder / "model.pt2")},
        "objective": compact.manifest.objective,
        "cost_model": compact.manifest.cost_model,
        "tasks": compact.manifest.tasks,
        **report,
        "variants": {name: _fill_variant(each, folder, name) for name, each in variants.items()},
        "environment": environment(),
    }
    write_json(folder / "report.json", document)
    write_json(folder / "why.json", {**compact.why, "model": document["model"]})
    write_inputs(compact.manifest.inputs, folder / "inputs.npz", images, origin)
    return document


def _fill_variant(compact: CompactModel, folder: Path, name: str) -> dict[str, Any]:
    """Write a variant; return what the report says of it."""
    place = make_folder(folder / VARIANTS / name)
    compact.save(place / MODEL)
    write_text(place / "plan.json", json.dumps(recorded(compact), allow_nan=False) + "\n")
    report = compact.report
    return {
        "sha256": sha256(place / MODEL),
        "cost_model": compact.manifest.cost_model,
        "macs": report.after.macs,
        "num_params": report.after.num_params,
        "gathers": report.gathers,
        "max_rel_error": report.max_rel_error,
    }


def write_inputs(
    inputs: Sequence[InputSpec], path: Path, images: Sequence[Tensor | Inputs], origin: str
) -> None:
    """Write ``inputs.npz``: samples of each input; where there are none, seeded noise."""
    arrays: dict[str, Any] = {}
    samples = [as_inputs(image) for image in images]
    for index, spec in enumerate(inputs):
        given = [values[index] for values in samples if index < len(values)]
        if given:
            fitting = [value for value in given if value.shape[1:] == given[0].shape[1:]]
            stored = torch.cat(fitting)
        else:
            generator = torch.Generator().manual_seed(1)
            stored = torch.rand((8, *spec.shape[1:]), generator=generator).to(
                getattr(torch, spec.dtype)
            )
        arrays[spec.name] = stored.numpy()
    content = io.BytesIO()
    np.savez_compressed(content, **arrays, source=np.array(origin))
    write_bytes(path, content.getbuffer())


def _same_source(folder: Path, compact: CompactModel) -> bool:
    """Tell whether the model in a folder was made from the same file."""
    try:
        parent = read_manifest(folder / "model.pt2")["manifest"]["parent"]
    except (CompactMTLError, LookupError, TypeError):
        return False  # no model, or not one we can read: nothing of it is kept in place
    return bool(parent) and parent == compact.manifest.parent
