"""What can be scored: checkpoints, compact models and exported artefacts, all called alike."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.board.panoptic.session import SUFFIX as PANOPTIC
from compactmtl.board.panoptic.session import PanopticSession
from compactmtl.checkpoint import build_model, load_checkpoint
from compactmtl.compact import load
from compactmtl.compact_network import load_network, read_network
from compactmtl.errors import (
    MissingExtraError,
    MissingFileError,
    NotPossibleHereError,
    UsageError,
)
from compactmtl.evaluation.batches import in_batches
from compactmtl.evaluation.panoptic import one_by_one
from compactmtl.evaluation.sessions import Session, opened
from compactmtl.export.board_errors import translated
from compactmtl.export.pt2_program import Pt2Exporter
from compactmtl.export.sidecar import read_sidecar
from compactmtl.files import fingerprint, sha256
from compactmtl.lineage import MODEL, PARTS, is_network, read_lineage, sidecar_path
from compactmtl.overparam import contract
from compactmtl.parts import import_part, is_foreign
from compactmtl.recipe import Recipe
from compactmtl.remote.ssh import Host

DENSE = "dense.pt2"
DENSE_NETWORK = "dense twin"
"""Stands in a network's folder for the dense twins of its parts, which are no file."""
CHECKPOINT = "ckpt.pt"
EXPORTED = Pt2Exporter.suffix
CANNOT_RUN = (MissingExtraError, NotPossibleHereError, UsageError)


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
    predict: Callable[[Tensor], Mapping[str, Any]]
    sha256: str
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None


@contextmanager
def open_subjects(
    paths: Sequence[Path], *, threads: int, recipe: Recipe | None = None, host: Host | None = None
) -> Iterator[tuple[dict[str, Subject], dict[str, str]]]:
    """Load what is named; a compact folder stands for its models and all their artefacts.

    Of a folder, artefacts that cannot run are left out; one that is named must run.

    Args:
        paths: Checkpoints, run folders, ``.pt2`` files, compact folders, exported files.
        threads: Threads of each runtime.
        recipe: The recipe of checkpoints whose network is the user's own code.
        host: Where exported files run; None: here. Torch runs here in any case.

    Yields:
        The subjects by a short name that tells them apart; and for each file of a folder that is
        not among them the reason.

    Raises:
        UsageError: Nothing is named, or nothing runs such a file.
        MissingFileError: A file is not there.
        MissingExtraError: The runtime of a file that is named is not installed.
        NotPossibleHereError: A file that is named cannot run there, or the host does not answer.
        RefusedError: A checkpoint names the user's own code and no recipe was given.
    """
    files: list[Path] = []
    left_out: dict[str, str] = {}
    optional: set[Path] = set()
    for path in paths:
        found, strangers = _files(path)
        files += found
        left_out |= strangers
        optional |= set(found) - {path}
    if not files:
        raise UsageError("nothing to evaluate: give checkpoints, compact folders or exported files")
    with ExitStack() as resources:
        subjects: dict[str, Subject] = {}
        for name, file in zip(_names(files), files, strict=True):
            try:
                if file.suffix == ".pt":
                    subjects[name] = _from_checkpoint(file, recipe)
                elif file.name in (PARTS, DENSE_NETWORK):
                    subjects[name] = _from_network(file)
                elif file.suffix == PANOPTIC:
                    subjects[name] = _from_panoptic(file, threads)
                elif file.suffix == ".pt2" and not file.name.endswith(EXPORTED):
                    subjects[name] = _from_compact(file)
                else:
                    session = opened(file, threads=threads, host=host)
                    subjects[name] = _from_artefact(file, resources.enter_context(session))
            except CANNOT_RUN as error:
                if file not in optional or file.name in (DENSE, MODEL, CHECKPOINT, PARTS):
                    raise
                left_out[name] = error.message
        yield subjects, left_out


def _files(path: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the files that a path stands for, the dense twin first, and what is none of them."""
    if not path.exists():
        raise MissingFileError(f"no such file or folder: `{path}`")
    if path.is_file() or sidecar_path(path).is_file():  # Core ML packages are folders
        return [path], {}
    if is_network(path):
        lineage = read_lineage(path)
        models = [path / DENSE_NETWORK, path / PARTS]
        return [*models, *(each.path for each in lineage.artefacts)], dict(lineage.strangers)
    if (path / MODEL).is_file():
        lineage = read_lineage(path)
        models = [path / name for name in (DENSE, MODEL) if (path / name).is_file()]
        artefacts = [each.path for each in lineage.artefacts if each.path.suffix != ".json"]
        return [*models, *artefacts], dict(lineage.strangers)
    if (path / CHECKPOINT).is_file():
        return [path / CHECKPOINT], {}
    raise UsageError(
        f"`{path}` is neither a run folder ({CHECKPOINT}) nor a compact folder ({MODEL})",
        hint="`compactmtl train` writes the one, `compactmtl compress` the other",
    )


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


def _from_network(path: Path) -> Subject:
    is_dense = path.name == DENSE_NETWORK
    network = load_network(path.parent, dense=is_dense)
    module = network.dense if is_dense else network.module
    assert module is not None
    return Subject(
        path=path.parent / PARTS,
        which="dense" if is_dense else "compact",
        runtime=f"torch {torch.__version__}",
        predict=_by_name(module, list(network.manifest.tasks)),
        tasks=network.manifest.tasks,
        recipe=network.manifest.recipe,
        sha256=sha256(path.parent / PARTS),
    )


def _from_panoptic(path: Path, threads: int) -> Subject:
    sidecar = read_sidecar(path)
    with translated():
        session = PanopticSession(path, threads=threads)
    manifest = read_network(path.parent)
    return Subject(
        path=path,
        which=sidecar.which,
        runtime=session.runtime,
        predict=one_by_one(session, list(manifest.tasks)),
        tasks=manifest.tasks,
        recipe=manifest.recipe,
        sha256=fingerprint(path),
    )


def _from_artefact(path: Path, session: Session) -> Subject:
    if len(session.inputs) != 1:
        raise _several_inputs(path, [info.name for info in session.inputs])
    sidecar = read_sidecar(path) if sidecar_path(path).is_file() else None
    return Subject(
        path=path,
        which=sidecar.which if sidecar else "",
        runtime=session.runtime,
        predict=in_batches(session, str(path), build=None if sidecar is None else sidecar.build),
        tasks={o.name: o.task for o in sidecar.outputs if o.task} if sidecar else {},
        sha256=fingerprint(path),
    )


def _by_name(module: nn.Module, names: Sequence[str]) -> Callable[[Tensor], Mapping[str, Any]]:
    def predict(images: Tensor) -> Mapping[str, Any]:
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
