"""Write the ``compact/`` folder: all of it, or nothing."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from compactmtl.compact import CompactModel
from compactmtl.environment import environment
from compactmtl.errors import CompactMTLError
from compactmtl.files import make_folder, sha256, write_error, write_json
from compactmtl.pt2 import read_manifest

FORMAT_VERSION = 1
FILES = ("model.pt2", "dense.pt2", "weights.safetensors", "plan.json", "report.json", "inputs.npz")


def write_folder(
    compact: CompactModel, folder: Path, *, images: Sequence[Tensor], origin: str, run: str = ""
) -> dict[str, Any]:
    """Write compact model, dense twin, weights, plan, report and stored inputs.

    A folder made from the same source is updated file by file; one made from another source is
    moved to ``<folder>.previous`` first, artefacts and all.

    Args:
        compact: What to write.
        folder: Where to.
        images: Inputs for export, bench and report to share; empty: seeded noise is stored.
        origin: Where they come from, in words.
        run: Path of the run folder it comes from, relative to ``folder``.

    Returns:
        The content of ``report.json``.

    Raises:
        WriteError: The folder is not writable, or the disk is full; what was there is unchanged.
    """
    make_folder(folder.parent)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
            temporary = Path(name)
            document = _fill(compact, temporary, images, origin, run)
            if folder.exists() and not _same_source(folder, compact):
                previous = folder.with_name(folder.name + ".previous")
                if previous.exists():
                    shutil.rmtree(previous)
                folder.rename(previous)
            make_folder(folder)
            for file in FILES:
                (temporary / file).replace(folder / file)
    except OSError as error:
        raise write_error(folder, error) from error
    return document


def _fill(
    compact: CompactModel, folder: Path, images: Sequence[Tensor], origin: str, run: str
) -> dict[str, Any]:
    compact.save(folder / "model.pt2")
    compact.save(folder / "dense.pt2", which="dense")
    weights = {name: t.detach().contiguous() for name, t in compact.module.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    write_json(folder / "plan.json", compact.plan)
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
        "environment": environment(),
    }
    write_json(folder / "report.json", document)
    _write_inputs(compact, folder / "inputs.npz", images, origin)
    for file in FILES:  # TemporaryDirectory and mkstemp are private; the folder is for colleagues
        (folder / file).chmod(0o644)
    return document


def _write_inputs(compact: CompactModel, path: Path, images: Sequence[Tensor], origin: str) -> None:
    arrays: dict[str, Any] = {}
    for index, spec in enumerate(compact.manifest.inputs):
        if index == 0 and images:
            stored = torch.cat(list(images))
        else:
            generator = torch.Generator().manual_seed(1)
            stored = torch.rand((8, *spec.shape[1:]), generator=generator).to(
                getattr(torch, spec.dtype)
            )
        arrays[spec.name] = stored.numpy()
    np.savez_compressed(path, **arrays, source=np.array(origin))


def _same_source(folder: Path, compact: CompactModel) -> bool:
    """Tell whether the model in a folder was made from the same file."""
    try:
        parent = read_manifest(folder / "model.pt2")["manifest"]["parent"]
    except CompactMTLError:
        return False  # no model, or not one we can read: nothing of it is kept in place
    return bool(parent) and parent == compact.manifest.parent
