"""The runs of a study: one per subject and seed, each in processes and a folder of its own."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from compactmtl.environment import usable_cores
from compactmtl.errors import CompilerError, RefusedError, TrainingError
from compactmtl.files import make_folder, read_json, write_text
from compactmtl.lineage import MODEL, REPORT
from compactmtl.recipe import to_toml
from compactmtl.study.derived import derived
from compactmtl.study.subjects import Subject

FINISHED = "finished"
EVALUATION = "evaluation"
COMPACT = "compact"
NOT_COMPILED = "not-compiled.txt"
"""Why a run has no compact folder, where the compiler could not make one."""
LOG = "output.txt"
"""What a run's process printed, for when it fails."""
LOCK = "lock"
"""Held by whoever trains or scores the run."""


@dataclass(frozen=True)
class RunCell:
    """One run of a study.

    Attributes:
        subject: What it is a run of.
        seed: Its seed.
        folder: Its own.
        needs: Runs of the same seed that must be finished before, as ``subject.needs`` names them.
        compiles: Whether it is compiled, too, for what it then costs.
    """

    subject: Subject
    seed: int
    folder: Path
    needs: tuple["RunCell", ...] = ()
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
    def is_done(self) -> bool:
        """Whether it was trained to the end, scored, and compiled if it is to be."""
        left = self.compiles and not (self.cost.is_file() or self.not_compiled.is_file())
        return self.scores.is_file() and not left

    @property
    def compact(self) -> Path:
        """The folder with its compiled model."""
        return self.folder / COMPACT

    @property
    def cost(self) -> Path:
        """What the compiler says of it."""
        return self.compact / REPORT

    @property
    def not_compiled(self) -> Path:
        """What the compiler said where it could not compile it."""
        return self.folder / NOT_COMPILED


def make_cells(
    subjects: Sequence[Subject], seeds: int, root: Path, *, compiles: bool = False
) -> list[RunCell]:
    """Return all runs, seed by seed, so that a study that is stopped early has whole pairs.

    Each subject's recipe is kept in the study's folder: what a label means must not change.

    Args:
        subjects: Each after those that it needs.
        seeds: Their number.
        root: The study's folder.
        compiles: Whether runs are compiled, too.

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
    cells: list[RunCell] = []
    for seed in range(seeds):
        of_seed: dict[str, RunCell] = {}
        for subject in subjects:
            needs = tuple(of_seed[label] for label in subject.needs)
            folder = root / subject.label / f"seed-{seed}"
            of_seed[subject.label] = RunCell(subject, seed, folder, needs, compiles)
        cells += of_seed.values()
    return cells


def run_cells(
    cells: Sequence[RunCell],
    *,
    jobs: int,
    devices: Sequence[str],
    on_done: Callable[[RunCell], None],
) -> None:
    """Train and score what is not done yet, ``jobs`` at a time; a run that began goes on.

    A run waits for those that it needs, and lets others go first.

    Args:
        cells: The runs, with all that they need.
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
        waiting = [cell for cell in cells if not cell.is_done]
        running: set[Future[RunCell]] = set()
        while waiting or running:
            ready = [cell for cell in waiting if all(each.is_done for each in cell.needs)]
            for cell in ready[: jobs - len(running)]:
                waiting.remove(cell)
                running.add(pool.submit(work, cell))
            assert running, "a run needs one that is not among the cells"
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                on_done(future.result())


def _run(cell: RunCell, device: str, threads: int) -> None:
    make_folder(cell.folder)
    with _alone(cell.folder) as lock:
        if not cell.is_done:
            _steps(cell, device, threads, lock)


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


def _steps(cell: RunCell, device: str, threads: int, lock: int) -> None:
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
            if done.returncode == CompilerError.exit_code and cell.scores.is_file():
                write_text(cell.not_compiled, said)  # what it would cost is unknown, and is said so
                continue
            raise TrainingError(
                f"{cell.subject.label}, seed {cell.seed}: {said}",
                hint=f"all it said: {cell.folder / LOG}; the study goes on where it stopped",
            )


def _commands(cell: RunCell, device: str) -> Iterator[list[str]]:
    run, recipe = str(cell.run), str(cell.folder.parent / "recipe.toml")
    model = run
    if cell.subject.needs:
        runs = {each.subject.label: each.run for each in cell.needs}
        own = derived(cell.subject, runs, device=device).model_copy(update={"seed": cell.seed})
        recipe = str(cell.folder / "recipe.toml")
        write_text(Path(recipe), to_toml(own))
    compress = ["--prune-zero-channels", "--recipe", recipe, "--quiet", "-o", str(cell.compact)]
    if not cell.scores.is_file():
        if cell.subject.control == "widths":
            model = str(cell.compact / MODEL)
            if not cell.cost.is_file():
                source = next(each for each in cell.needs if each.subject.label == cell.subject.of)
                finetune = ["--finetune", recipe, "--fresh", "--finetune-run", run]
                yield ["compress", str(source.run), *compress, *finetune]
        elif not (cell.run / "ckpt.pt").is_file():
            seed = str(cell.seed)
            yield ["train", recipe, "--seed", seed, "--run-dir", run, "--device", device, "--quiet"]
        elif _status(cell.run) != FINISHED:
            yield ["train", "--resume", run, "--device", device, "--quiet"]
        yield [
            "evaluate", model, "--split", "test", "--recipe", recipe, "--quiet",
            "--out", str(cell.folder / EVALUATION),
        ]  # fmt: skip
    if cell.compiles and not cell.cost.is_file():
        yield ["compress", run, *compress]


def _status(run: Path) -> str:
    path = run / "run.json"
    return str(read_json(path).get("status", "")) if path.is_file() else ""
