"""What there is to do for one run of a study: each step in a process of its own."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from compactmtl.errors import CompilerError, StoppedError, TrainingError
from compactmtl.files import make_folder, read_json, write_text
from compactmtl.lineage import MODEL
from compactmtl.recipe import to_toml
from compactmtl.study.cells import EVALUATION, RunCell
from compactmtl.study.children import Children
from compactmtl.study.derived import derived
from compactmtl.training.run import CHECKPOINT

FINISHED = "finished"
LOCK = "lock"
"""Held by whoever trains or scores the run."""
LOOK_AGAIN_S = 0.5
STOPPED = (StoppedError.exit_code, -signal.SIGTERM, -signal.SIGUSR1)
"""Exit codes of a process that a scheduler ended."""


def run_cell(
    cell: RunCell,
    device: str,
    threads: int,
    children: Children,
    on_wait: Callable[[RunCell], None] = lambda _: None,
) -> None:
    """Do what is left of a run, each step in a process of its own.

    Args:
        cell: The run.
        device: Where to train.
        threads: Of its processes.
        children: Starts them.
        on_wait: Called where somebody else works on the run, before waiting for that.

    Raises:
        TrainingError: A step failed, or the study was stopped.
        StoppedError: A signal ended one that can go on.
        WriteError: Its folder cannot be written.
    """
    make_folder(cell.folder)
    with _alone(cell, children, on_wait) as lock:
        if not cell.is_done:
            _steps(cell, device, threads, lock, children)


@contextmanager
def _alone(cell: RunCell, children: Children, on_wait: Callable[[RunCell], None]) -> Iterator[int]:
    """Wait until nobody else works on a run.

    A study that is killed (SIGKILL) leaves the processes of its runs behind. They inherit the lock,
    so a study that goes on at once waits for them instead of training beside them in one folder.

    Yields:
        The file descriptor that processes have to inherit.
    """
    with (cell.folder / LOCK).open("w") as file:
        if not _locked(file):
            on_wait(cell)
            while not _locked(file):
                children.check()
                time.sleep(LOOK_AGAIN_S)
        yield file.fileno()


def _locked(file: IO[str]) -> bool:
    """Lock a file, unless somebody else has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _steps(cell: RunCell, device: str, threads: int, lock: int, children: Children) -> None:
    if cell.run.is_dir() and not (cell.run / CHECKPOINT).is_file():
        shutil.rmtree(cell.run)  # killed before it was saved: nothing to go on with
    for command in _commands(cell, device):
        with cell.log.open("w", encoding="utf-8") as log:
            code = children.run(
                [sys.executable, "-m", "compactmtl", *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                env={"OMP_NUM_THREADS": str(threads)} | os.environ,  # a user's own stays
            )
        if code in STOPPED:
            raise StoppedError(f"{cell.name}: a signal stopped it", hint="the same command goes on")
        if code:
            lines = cell.log.read_text(encoding="utf-8", errors="replace").splitlines()
            errors = [line for line in lines if line.startswith("error:")]
            said = (errors or lines or [f"ended with code {code}, without a word"])[-1]
            said = said.removeprefix("error: ")
            if (
                cell.until == "compiled"
                and code == CompilerError.exit_code
                and cell.scores.is_file()
            ):
                write_text(cell.not_compiled, said)  # what it would cost is unknown, and is said so
                continue
            raise TrainingError(
                f"{cell.name}: {said}",
                hint=f"all it said: {cell.log}; the study goes on where it stopped",
            )


def _commands(cell: RunCell, device: str) -> Iterator[list[str]]:
    """Yield what is left to do for a run, as command lines."""
    run, recipe, model = str(cell.run), str(cell.recipe), str(cell.run)
    if cell.subject.needs:
        runs = {each.subject.label: each.run for each in cell.needs}
        own = derived(cell.subject, runs, device=device).model_copy(update={"seed": cell.seed})
        write_text(cell.recipe, to_toml(own))
    compress = ["--prune-zero-channels", "--recipe", recipe, "--quiet", "-o", str(cell.compact)]
    if not cell.scores.is_file():
        if cell.subject.control == "widths":
            model = str(cell.compact / MODEL)
            if not cell.cost.is_file():
                source = next(each for each in cell.needs if each.subject.label == cell.subject.of)
                finetune = ["--finetune", recipe, "--fresh", "--finetune-run", run]
                yield ["compress", str(source.run), *compress, *finetune]
        elif not (cell.run / CHECKPOINT).is_file():
            seed = str(cell.seed)
            yield ["train", recipe, "--seed", seed, "--run-dir", run, "--device", device, "--quiet"]
        elif _status(cell.run) != FINISHED:
            yield ["train", "--resume", run, "--device", device, "--quiet"]
        yield [
            "evaluate", model, "--split", "test", "--recipe", recipe, "--quiet",
            "--out", str(cell.folder / EVALUATION),
        ]  # fmt: skip
    if cell.until != "scored" and not cell.cost.is_file():
        yield ["compress", run, *compress]
    if cell.until == "exported":
        yield ["export", str(cell.compact), "--quiet"]


def _status(run: Path) -> str:
    path = run / "run.json"
    return str(read_json(path).get("status", "")) if path.is_file() else ""
