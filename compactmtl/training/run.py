"""Run folders: `runs/<recipe>-<time>-<seed>/`, one per run, never reused."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from compactmtl.environment import environment
from compactmtl.errors import (
    CompactMTLError,
    CorruptFileError,
    MissingFileError,
    StoppedError,
    UsageError,
    WriteError,
)
from compactmtl.files import read_json, write_error, write_json, write_text
from compactmtl.recipe import Recipe, parse, read_toml, to_toml
from compactmtl.training.logs import JSONL, finite, read_log

RECIPE, CHECKPOINT, STATUS = "recipe.toml", "ckpt.pt", "run.json"


@dataclass
class Run:
    """A run folder and the content of its `run.json`."""

    folder: Path
    document: dict[str, Any] = field(default_factory=dict)
    is_live: bool = False
    """Whether this process has written that it runs; a resume that fails earlier writes nothing."""
    writes: bool = True
    """Whether it is this process that writes: of several only the first does."""

    @property
    def checkpoint(self) -> Path:
        """The folder's `ckpt.pt`."""
        return self.folder / CHECKPOINT

    def update(self, **fields: object) -> None:
        """Set fields of `run.json` and write it."""
        if not self.writes:
            return
        self.document |= {name: finite(value) for name, value in fields.items()}
        write_json(self.folder / STATUS, self.document)

    def go_on(self) -> None:
        """Note that an earlier run goes on; clear away what a kill left half-written."""
        if not self.writes:
            return
        for torn in self.folder.glob(f".{CHECKPOINT}.*"):
            torn.unlink(missing_ok=True)
        self.document.pop("finished", None)
        self.document.pop("error", None)
        self.is_live = True
        self.update(status="running")

    def finish(self, status: str, **fields: object) -> None:
        """Note how and when the run ended."""
        self.update(status=status, finished=_now(), **fields)

    def discard(self) -> None:
        """Take away what ``create_run`` made; anything else in the folder stays."""
        if not self.writes:
            return
        for name in (RECIPE, STATUS):
            (self.folder / name).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def open_or_create(
    recipe: Recipe,
    root: Path,
    run_dir: Path | None,
    *,
    resume: bool,
    given: Sequence[str] = (),
    writes: bool = True,
) -> Run:
    """Return the run to go on with, as it is, or a new one of status "running".

    Args:
        recipe: As for ``create_run``.
        root: As for ``create_run``.
        run_dir: The folder.
        resume: Whether to go on.
        given: As for ``create_run``.
        writes: False in all processes but one: these are told the folder of a new run later.

    Raises:
        UsageError: ``resume`` without ``run_dir``, or a new ``run_dir`` that is not empty.
        MissingFileError: There is nothing to resume.
        WriteError: The folder cannot be written.
    """
    if not resume:
        return create_run(recipe, root, run_dir, given) if writes else Run(root, writes=False)
    if run_dir is None:
        raise UsageError("resume without run_dir", hint="say which run to go on with: run_dir=...")
    run = open_run(run_dir)
    run.writes = writes
    return run


@contextmanager
def noted(run: Run) -> Iterator[None]:
    """Write into `run.json` how the block ended, if it did not end well.

    A new run that an error ended before anything was trained leaves no folder behind.
    """
    try:
        yield
    except BaseException as error:
        if not run.is_live:
            raise
        if isinstance(error, CompactMTLError) and not (run.folder / JSONL).exists():
            run.discard()
            raise
        try:
            if isinstance(error, KeyboardInterrupt | StoppedError):
                run.finish("interrupted")
            else:
                run.finish("failed", error=str(error))
        except WriteError as second:  # a full disk: what ended the run is the news
            error.add_note(second.message)
        raise


def create_run(
    recipe: Recipe, root: Path, run_dir: Path | None = None, given: Sequence[str] = ()
) -> Run:
    """Make a new run folder with its recipe and a `run.json` of status "running".

    Args:
        recipe: Written into the folder.
        root: Where named run folders live.
        run_dir: This folder instead; it must not exist, or be empty.
        given: Parts that the caller gave as objects: a recipe alone cannot go on with them.

    Raises:
        UsageError: ``run_dir`` holds something.
        WriteError: The folder cannot be created or written.
    """
    folder = _new_folder(recipe, root) if run_dir is None else _empty_folder(run_dir)
    run = Run(folder, is_live=True)
    try:
        write_text(folder / RECIPE, to_toml(recipe))
        run.update(
            format_version=1,
            recipe=recipe.name,
            seed=recipe.seed,
            started=_now(),
            status="running",
            baseline={},
            milestones={},
            check=None,
            given=list(given),
            environment=environment(),
        )
    except BaseException:
        run.discard()
        raise
    return run


def open_run(path: Path) -> Run:
    """Open an existing run by its folder or its `ckpt.pt`.

    Raises:
        MissingFileError: No such run, or it has no checkpoint yet.
        CorruptFileError: Its `run.json` is damaged.
    """
    folder = path.parent if path.name == CHECKPOINT else path
    if not folder.is_dir():
        raise MissingFileError(f"no such run: `{path}`", hint="`compactmtl runs` lists them")
    run = Run(folder)
    if not run.checkpoint.is_file():
        raise MissingFileError(
            f"`{folder}` has no {CHECKPOINT}: the run ended before its first epoch did, "
            "or its first save",
            hint="start it again with `compactmtl train`",
        )
    if (folder / STATUS).is_file():
        run.document = _read_status(folder)
    return run


def open_to_resume(path: Path) -> Run:
    """Open a run that its recipe alone is enough to go on with.

    Raises:
        UsageError: It was given parts as objects, as a compact model that is trained further is.
        MissingFileError, CorruptFileError: As ``open_run``.
    """
    run = open_run(path)
    given = run.document.get("given") or []
    if given:
        raise UsageError(
            f"`{run.folder}` was started with its own {', '.join(map(str, given))}, "
            "which the recipe does not name",
            hint="if `compress --finetune` started it: the same command with --finetune-run "
            f"{run.folder}; else from Python, fit or finetune with the same objects and "
            "resume=True",
        )
    return run


def read_recipe(run: Run) -> Recipe:
    """Return the recipe that a run was started with."""
    path = run.folder / RECIPE
    return parse(read_toml(path), source=str(path))


@dataclass(frozen=True)
class RunSummary:
    """One line of `compactmtl runs`."""

    folder: Path
    recipe: str
    seed: int | None
    started: str
    status: str
    """running, finished, failed, interrupted; or unreadable."""
    epoch: int
    """Finished epochs."""
    metrics: dict[str, dict[str, float]]
    """Validation metrics of the last epoch, per task."""
    sparsity: dict[str, int]
    """Counts of the last epoch: zero_groups, num_groups, zero_filters, num_filters."""


def list_runs(root: Path) -> list[RunSummary]:
    """Return the runs under ``root``, the latest first; a damaged one is listed as unreadable.

    Raises:
        MissingFileError: There is no such folder.
    """
    if not root.is_dir():
        raise MissingFileError(
            f"no such folder: `{root}`", hint="`compactmtl train RECIPE` makes the first run"
        )
    found = [_summary(path.parent) for path in root.glob(f"*/{STATUS}")]
    return sorted(found, key=lambda run: (run.started, run.folder.name), reverse=True)


def _summary(folder: Path) -> RunSummary:
    try:
        document = _read_status(folder)
        log = read_log(folder)
        last = log[-1] if log else {}
        return RunSummary(
            folder=folder,
            recipe=str(document.get("recipe", "")),
            seed=document.get("seed"),
            started=str(document.get("started", "")),
            status=str(document.get("status", "")),
            epoch=int(last.get("epoch", 0)),
            metrics={
                task: {
                    name: math.nan if value is None else float(value)
                    for name, value in found.items()
                }
                for task, found in last.get("val", {}).items()
            },
            sparsity={name: int(n) for name, n in (last.get("sparsity") or {}).items()},
        )
    except (CorruptFileError, AttributeError, TypeError, ValueError):
        return RunSummary(folder, "", None, "", "unreadable", 0, {}, {})


def _read_status(folder: Path) -> dict[str, Any]:
    document = read_json(folder / STATUS)
    if not isinstance(document, dict):
        raise CorruptFileError(
            f"`{folder / STATUS}` holds a {type(document).__name__}, expected an object",
            hint="it only repeats the checkpoint: delete it, then resume",
        )
    return document


def _new_folder(recipe: Recipe, root: Path) -> Path:
    base = f"{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}-{recipe.seed}"
    attempt = 1
    while True:
        folder = root / (base if attempt == 1 else f"{base}-{attempt}")
        try:
            folder.mkdir(parents=True)  # fails where the name is taken, even by a rival process
        except FileExistsError as error:
            if root.exists() and not root.is_dir():
                raise write_error(root, error) from error
            attempt += 1
        except OSError as error:
            raise write_error(folder, error) from error
        else:
            return folder


def _empty_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = next(folder.iterdir(), None)
    except OSError as error:
        raise write_error(folder, error) from error
    if taken is not None:
        raise UsageError(
            f"run folder `{folder}` is not empty (it has `{taken.name}`); "
            "runs are never overwritten",
            hint=f"continue it with --resume {folder}, or name another folder",
        )
    return folder


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
