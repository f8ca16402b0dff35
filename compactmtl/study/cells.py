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
from compactmtl.recipe import to_toml
from compactmtl.study.subjects import Subject

FINISHED = "finished"
EVALUATION = "evaluation"
LOG = "output.txt"
"""What a run's process printed, for when it fails."""
LOCK = "lock"
"""Held by whoever trains or scores the run."""


@dataclass(frozen=True)
class RunCell:
    """One run of a study."""

    subject: Subject
    seed: int
    folder: Path

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    @property
    def scores(self) -> Path:
        """The file with its metrics on the test split."""
        return self.folder / EVALUATION / "evaluation.json"

    @property
    def is_done(self) -> bool:
        """Whether it was trained to the end and scored."""
        return self.scores.is_file()


def make_cells(subjects: Sequence[Subject], seeds: int, root: Path) -> list[RunCell]:
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
        RunCell(subject, seed, root / subject.label / f"seed-{seed}")
        for seed in range(seeds)
        for subject in subjects
    ]


def run_cells(
    cells: Sequence[RunCell],
    *,
    jobs: int,
    devices: Sequence[str],
    on_done: Callable[[RunCell], None],
) -> None:
    """Train and score what is not done yet, ``jobs`` at a time; a run that began goes on.

    Args:
        cells: The runs.
        jobs: Processes side by side; they share the cores.
        devices: Taken in turns; as for ``compactmtl train --device``.
        on_done: Called after each run, from this thread.

    Raises:
        TrainingError: A run failed; the others that had begun were still finished.
    """
    free: SimpleQueue[str] = SimpleQueue()
    for index in range(jobs):
        free.put(devices[index % len(devices)])
    threads = max(1, (usable_cores() or 1) // jobs)

    def work(cell: RunCell) -> RunCell:
        device = free.get()
        try:
            _run(cell, device, threads)
        finally:
            free.put(device)
        return cell

    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(work, cell) for cell in cells if not cell.is_done]
        try:
            for future in as_completed(waiting):
                on_done(future.result())
        except BaseException:
            for future in waiting:
                future.cancel()
            raise


def _run(cell: RunCell, device: str, threads: int) -> None:
    make_folder(cell.folder)
    with _alone(cell.folder) as lock:
        if not cell.is_done:
            _train_and_score(cell, device, threads, lock)


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


def _train_and_score(cell: RunCell, device: str, threads: int, lock: int) -> None:
    if cell.run.is_dir() and not (cell.run / "ckpt.pt").is_file():
        shutil.rmtree(cell.run)  # killed before its first epoch ended: nothing to go on with
    for command in _commands(cell, device):
        with (cell.folder / LOG).open("w", encoding="utf-8") as log:
            done = subprocess.run(
                [sys.executable, "-m", "compactmtl", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                pass_fds=(lock,),
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            )
        if done.returncode:
            lines = (cell.folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
            errors = [line for line in lines if line.startswith("error:")]
            said = (errors or lines or ["nothing"])[-1].removeprefix("error: ")
            raise TrainingError(
                f"{cell.subject.label}, seed {cell.seed}: {said}",
                hint=f"all it said: {cell.folder / LOG}; the study goes on where it stopped",
            )


def _commands(cell: RunCell, device: str) -> Iterator[list[str]]:
    """Yield what is left to do for a run, as command lines."""
    run, recipe = str(cell.run), str(cell.folder.parent / "recipe.toml")
    if (cell.run / "ckpt.pt").is_file():
        if _status(cell.run) != FINISHED:
            yield ["train", "--resume", run, "--device", device, "--quiet"]
    else:
        seed = str(cell.seed)
        yield ["train", recipe, "--seed", seed, "--run-dir", run, "--device", device, "--quiet"]
    yield [
        "evaluate", run, "--split", "test", "--recipe", recipe, "--quiet",
        "--out", str(cell.folder / EVALUATION),
    ]  # fmt: skip


def _status(run: Path) -> str:
    path = run / "run.json"
    return str(read_json(path).get("status", "")) if path.is_file() else ""
