"""What can be scored: checkpoints, compact models and exported artefacts, all called alike."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compactmtl.bench.cost import RUNTIMES
from compactmtl.checkpoint import build_model, load_checkpoint
from compactmtl.compact import load
from compactmtl.errors import MissingFileError, UsageError
from compactmtl.export.session import open_session
from compactmtl.export.sidecar import read_sidecar
from compactmtl.files import sha256
from compactmtl.lineage import MODEL, read_lineage, sidecar_path
from compactmtl.overparam import contract
from compactmtl.parts import import_part, is_foreign
from compactmtl.recipe import Recipe

DENSE = "dense.pt2"
CHECKPOINT = "ckpt.pt"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One thing to score.

    Attributes:
        path: The file it was loaded from.
        which: ``dense`` or ``compact``; empty where the file does not say.
        runtime: What computes it.
        predict: Takes images (N, 3, H, W) float32, returns raw outputs per task.
        tasks: ``Task.spec()`` by task name; empty where the file does not say.
        recipe: The recipe document it was trained by; None where the file does not say.
        sha256: Fingerprint of the file.
    """

    path: Path
    which: str
    runtime: str
    predict: Callable[[Tensor], Mapping[str, Tensor]]
    sha256: str
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None


def load_subjects(
    paths: Sequence[Path], *, threads: int, recipe: Recipe | None = None
) -> dict[str, Subject]:
    """Load what is named; a compact folder stands for its models and all their artefacts.

    Args:
        paths: Checkpoints, run folders, ``.pt2`` files, compact folders, exported files.
        threads: Threads of each runtime.
        recipe: The recipe of checkpoints whose network is the user's own code.

    Returns:
        The subjects by a short name that tells them apart.

    Raises:
        UsageError: Nothing is named, or nothing runs such a file.
        MissingFileError: A file is not there.
        RefusedError: A checkpoint names the user's own code and no recipe was given.
    """
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise UsageError("nothing to evaluate: give checkpoints, compact folders or exported files")
    return {
        name: _load(file, threads, recipe) for name, file in zip(_names(files), files, strict=True)
    }


def _files(path: Path) -> Iterator[Path]:
    """Yield the files that a path stands for, the dense twin first."""
    if not path.exists():
        raise MissingFileError(f"no such file or folder: `{path}`")
    if not path.is_dir():
        yield path
    elif (path / MODEL).is_file():
        yield from (path / name for name in (DENSE, MODEL) if (path / name).is_file())
        found = [each.path for each in read_lineage(path).artefacts]
        yield from (file for file in found if file.suffix in RUNTIMES)
    elif (path / CHECKPOINT).is_file():
        yield path / CHECKPOINT
    else:
        raise UsageError(
            f"`{path}` is neither a run folder ({CHECKPOINT}) nor a compact folder ({MODEL})",
            hint="`compactmtl train` writes the one, `compactmtl compress` the other",
        )


def _load(path: Path, threads: int, recipe: Recipe | None) -> Subject:
    if path.suffix == ".pt":
        return _from_checkpoint(path, recipe)
    if path.suffix == ".pt2":
        return _from_compact(path)
    return _from_artefact(path, threads)


def _from_checkpoint(path: Path, recipe: Recipe | None) -> Subject:
    checkpoint = load_checkpoint(path)
    name = recipe.model.name if recipe is not None else ""
    network = build_model(checkpoint, factory=import_part(name) if is_foreign(name) else None)
    contract(network.eval())
    return Subject(
        path=path,
        which="dense",
        runtime=f"torch {torch.__version__}",
        predict=_by_name(network.eval(), list(checkpoint.tasks)),
        tasks=checkpoint.tasks,
        recipe=checkpoint.recipe,
        sha256=sha256(path),
    )


def _from_compact(path: Path) -> Subject:
    model = load(path)
    manifest = model.manifest
    if len(manifest.inputs) != 1:
        raise _several_inputs(path, manifest.input_names)
    return Subject(
        path=path,
        which=manifest.which,
        runtime=f"torch {torch.__version__}",
        predict=_by_name(model.module, manifest.output_names),
        tasks=manifest.tasks,
        recipe=manifest.recipe,
        sha256=sha256(path),
    )


def _from_artefact(path: Path, threads: int) -> Subject:
    loaded = open_session(path, threads=threads)
    if len(loaded.inputs) != 1:
        raise _several_inputs(path, [info.name for info in loaded.inputs])
    info = loaded.inputs[0]
    fixed = info.shape[0] if isinstance(info.shape[0], int) else None

    def predict(images: Tensor) -> dict[str, Tensor]:
        array = images.numpy()
        for axis in (1, 2, 3):
            if isinstance(info.shape[axis], int) and info.shape[axis] != array.shape[axis]:
                raise UsageError(
                    f"`{path}` is fixed to {list(info.shape)}, the images are {list(array.shape)}",
                    hint="export it for this size, or score it on a data set of its own size",
                )
        step = fixed or len(array)
        parts = []
        for start in range(0, len(array), step):
            part = array[start : start + step]
            # A fixed batch is filled up by repeating, and what is too much is cut off again.
            full = part[np.arange(step) % len(part)].astype(info.dtype)
            parts.append({k: v[: len(part)] for k, v in loaded({info.name: full}).items()})
        return {
            name: torch.from_numpy(np.concatenate([part[name] for part in parts]))
            for name in parts[0]
        }

    sidecar = read_sidecar(path) if sidecar_path(path).is_file() else None
    return Subject(
        path=path,
        which=sidecar.which if sidecar else "",
        runtime=loaded.runtime,
        predict=predict,
        tasks={o.name: o.task for o in sidecar.outputs if o.task} if sidecar else {},
        sha256=sha256(path),
    )


def _by_name(module: nn.Module, names: Sequence[str]) -> Callable[[Tensor], Mapping[str, Tensor]]:
    def predict(images: Tensor) -> Mapping[str, Tensor]:
        with torch.no_grad():
            outputs = module(images)
        if isinstance(outputs, Mapping):
            return outputs
        several = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        return dict(zip(names, several, strict=True))

    return predict


def _several_inputs(path: Path, names: Sequence[str]) -> UsageError:
    return UsageError(
        f"`{path}` takes {len(names)} inputs ({', '.join(names)}), data sets give one image",
        hint="score it in Python with compactmtl.multitask.evaluate",
    )


def _names(files: Sequence[Path]) -> list[str]:
    """Return the files' names, with their folders where two are called alike."""
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        names = [f"{file.parent.name}/{file.name}" for file in files]
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    if len(set(names)) < len(names):
        raise UsageError(f"a file is named twice among: {', '.join(names)}")
    return names
