"""The runs of a study: one per subject and seed, each in a process and a folder of its own."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from compactmtl.environment import usable_cores
from compactmtl.errors import RefusedError, TrainingError
from compactmtl.files import make_folder, read_json, write_text
from compactmtl.lineage import REPORT
from compactmtl.recipe import to_toml
from compactmtl.study.children import Children
from compactmtl.study.subjects import Subject
from compactmtl.training.run import CHECKPOINT

FINISHED = "finished"
EVALUATION, COMPACT = "evaluation", "compact"
LAST_EXPORTED = "dense.onnx.json"
"""What `compactmtl export` writes last."""
LOG = "output.txt"
"""What a run's process printed, for when it fails."""
LOCK = "lock"
"""Held by whoever trains or scores the run."""

OnFailed = Callable[["RunCell", TrainingError], None]


@dataclass(frozen=True)
class RunCell:
    """One run of a study; where ``compiles``, it is compiled and exported, too."""

    subject: Subject
    seed: int
    folder: Path
    compiles: bool = False

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    @property
    def scores(self) -> Path:
        """The file with its metrics on the test split."""
        return self.folder / EVALUATION / "evaluation.json"

    @property
    def compact(self) -> Path:
        """The folder with its compiled model."""
        return self.folder / COMPACT

    @property
    def log(self) -> Path:
        """What its last process printed."""
        return self.folder / LOG

    @property
    def is_done(self) -> bool:
        """Whether it was trained to the end, scored, and compiled where it is to be."""
        return self.scores.is_file() and (
            not self.compiles or (self.compact / LAST_EXPORTED).is_file()
        )


def make_cells(
    subjects: Sequence[Subject], seeds: int, root: Path, *, compiles: bool = False
) -> list[RunCell]:
    """Return all runs, seed by seed, so that a study that is stopped early has whole pairs.

    Each subject's recipe is kept in the study's folder: what a label means must not change.

    Raises:
        RefusedError: The folder holds another recipe under the same label.
        WriteError: The folder cannot be written.
    """
    for subject in subjects:
        path = root / subject.label / "recipe.toml"
        text = to_toml(subject.recipe)
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise RefusedError(
                f"`{path}` is another recipe than `{subject.label}` is now",
                hint="choose another --out or another label; its runs would be mixed",
            )
        make_folder(path.parent)
        write_text(path, text)
    return [
        RunCell(subject, seed, root / subject.label / f"seed-{seed}", compiles)
        for seed in range(seeds)
        for subject in subjects
    ]


def run_cells(
    cells: Sequence[RunCell],
    *,
    jobs: int,
    devices: Sequence[str],
    on_done: Callable[[RunCell], None],
    on_failed: OnFailed | None = None,
) -> None:
    """Train and score what is not done yet, ``jobs`` at a time; a run that began goes on.

    Args:
        cells: The runs.
        jobs: Processes side by side; they share the cores.
        devices: Taken in turns; as for ``compactmtl train --device``.
        on_done: Called after each run, from this thread.
        on_failed: Called in its place after a run that failed; None: raise, and start no more.

    Raises:
        TrainingError: A run failed; the others that had begun were still finished.
    """
    free: SimpleQueue[str] = SimpleQueue()
    for index in range(jobs):
        free.put(devices[index % len(devices)])
    threads = max(1, (usable_cores() or 1) // jobs)
    children = Children()

    def work(cell: RunCell) -> None:
        device = free.get()
        try:
            run_cell(cell, device, threads, children)
        finally:
            free.put(device)

    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(work, cell): cell for cell in cells if not cell.is_done}
        try:
            for future in as_completed(waiting):
                try:
                    future.result()
                except TrainingError as error:
                    if on_failed is None:
                        raise
                    on_failed(waiting[future], error)
                else:
                    on_done(waiting[future])
        except BaseException as error:
            for future in waiting:
                future.cancel()
            if isinstance(error, KeyboardInterrupt):
                children.stop()
            raise


def run_cell(cell: RunCell, device: str, threads: int, children: Children) -> None:
    """Do what is left of a run, each step in a process of its own.

    Raises:
        TrainingError: A step failed.
        WriteError: Its folder cannot be written.
    """
    make_folder(cell.folder)
    with _alone(cell.folder) as lock:
        if not cell.is_done:
            _steps(cell, device, threads, lock, children)


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Wait until nobody else works on a run.

    A study that is killed (SIGKILL) leaves the processes of its runs behind. They inherit the lock,
    so a study that goes on at once waits for them instead of training beside them in one folder.

    Yields:
        The file descriptor that processes have to inherit.
    """
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _steps(cell: RunCell, device: str, threads: int, lock: int, children: Children) -> None:
    if cell.run.is_dir() and not (cell.run / CHECKPOINT).is_file():
        shutil.rmtree(cell.run)  # killed before its first epoch ended: nothing to go on with
    for command in _commands(cell, device):
        with cell.log.open("w", encoding="utf-8") as log:
            code = children.run(
                [sys.executable, "-m", "compactmtl", *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            )
        if code:
            lines = cell.log.read_text(encoding="utf-8", errors="replace").splitlines()
            errors = [line for line in lines if line.startswith("error:")]
            said = (errors or lines or [f"ended with code {code}, without a word"])[-1]
            raise TrainingError(
                f"{cell.subject.label}, seed {cell.seed}: {said.removeprefix('error: ')}",
                hint=f"all it said: {cell.log}; the study goes on where it stopped",
            )


def _commands(cell: RunCell, device: str) -> Iterator[list[str]]:
    """Yield what is left to do for a run, as command lines."""
    run, recipe = str(cell.run), str(cell.folder.parent / "recipe.toml")
    if not cell.scores.is_file():
        if (cell.run / CHECKPOINT).is_file():
            if _status(cell.run) != FINISHED:
                yield ["train", "--resume", run, "--device", device, "--quiet"]
        else:
            seed = str(cell.seed)
            yield ["train", recipe, "--seed", seed, "--run-dir", run, "--device", device, "--quiet"]
        yield [
            "evaluate", run, "--split", "test", "--recipe", recipe, "--quiet",
            "--out", str(cell.folder / EVALUATION),
        ]  # fmt: skip
    if cell.compiles:
        if not (cell.compact / REPORT).is_file():
            yield [
                "compress", str(cell.run / CHECKPOINT), "--prune-zero-channels",
                "--recipe", recipe, "-o", str(cell.compact), "--quiet",
            ]  # fmt: skip
        yield ["export", str(cell.compact), "--quiet"]


def _status(run: Path) -> str:
    path = run / "run.json"
    return str(read_json(path).get("status", "")) if path.is_file() else ""
