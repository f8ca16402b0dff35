"""Run as a script: kill training runs with SIGKILL, resume them, and leave the run folders.

One process imports torch and forks for every run, which saves seconds per run. It computes nothing
itself and every child has one thread, so forking is safe.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from compactmtl import recipe as recipes
from compactmtl.training import NullReporter, fit

fit_module: Any = importlib.import_module("compactmtl.training.fit")

RECIPE: dict[str, Any] = {
    "name": "killed",
    "seed": 3,
    # Dropout draws from the global generator, rooms from the disk, batch norm keeps statistics.
    "model": {
        "name": "deeplab_resnet18",
        "args": {"width": 0.0625, "head_channels": 4, "rates": [2], "dropout": 0.3},
    },
    "data": {"name": "rooms", "args": {"num_images": 14, "height": 32, "width": 48}},
    "tasks": {"seg": {}, "depth": {}, "normals": {"weight": 0.5}},
    "train": {"epochs": 6, "lr": 5e-3, "weight_decay": 1e-2, "device": "cpu", "clip_norm": 10.0},
    "overparam": {"until": 0.33, "m_lr": 2e-2, "subset": 0.6},
    "sparsity": {"target": 0.4, "lam": 3e-2, "start": 0.33, "stop": 0.83},
}
RECIPE["data"]["batch_size"] = 4


class Killer(NullReporter):
    """Kills its own process in an epoch, after ``steps`` of the steps that it does there."""

    def __init__(self, epoch: int, steps: int) -> None:
        self.at, self.now, self.done = (epoch, steps), 0, 0

    def epoch_started(self, epoch: int, phase: str, num_steps: int) -> None:
        self.now, self.done = epoch, 0
        self._perhaps()

    def step(self, losses: Mapping[str, float]) -> None:
        self.done += 1
        self._perhaps()

    def _perhaps(self) -> None:
        if (self.now, self.done) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_while_saving(epoch: int) -> None:
    """Make the process die when the checkpoint of this epoch is half written."""
    original = Path.write_bytes
    saves = []

    def write_bytes(path: Path, content: Any) -> int:
        saves.append(path)
        if len(saves) < epoch:
            return original(path, content)
        original(path, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    Path.write_bytes = write_bytes  # type: ignore[method-assign]


def kill_after_saving(epoch: int) -> None:
    """Make the process die between `ckpt.pt` and the logs that repeat it."""
    original = fit_module.repeat_state

    def repeat(run: Any, state: Any) -> None:
        if state.epoch == epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        original(run, state)

    fit_module.repeat_state = repeat


def train(folder: Path, every: str, *, resume: bool, reporter: NullReporter | None = None) -> None:
    settings = [f"train.checkpoint_every={every}"] if every else []
    recipe = recipes.parse(recipes.override(RECIPE, settings), source="test")
    fit(recipe, run_dir=folder, resume=resume, reporter=reporter)


def in_a_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process; return its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def kill(folder: Path, every: str, how: str, *, resume: bool) -> None:
    """Run until the killing that ``how`` describes: "saving 2", "saved 2" or "2 5"."""
    first, second = how.split()
    reporter = None
    if first == "saving":
        kill_while_saving(int(second))
    elif first == "saved":
        kill_after_saving(int(second))
    else:
        reporter = Killer(int(first), int(second))
    train(folder, every, resume=resume, reporter=reporter)


def main(root: Path, plans: list[str]) -> None:
    """Do one run per plan: its killings, separated by commas, then a resume to the end.

    What stands before a semicolon is the run's ``train.checkpoint_every``.
    """
    torch.set_num_threads(1)
    os.environ["COMPACTMTL_CACHE"] = str(root / "cache")
    for plan in plans:
        folder = root / plan.replace(" ", "-").replace(",", "+")
        every, _, hows = plan.rpartition(";")
        killings = [how for how in hows.split(",") if how != "never"]
        for index, how in enumerate(killings):
            status = in_a_child(
                lambda f=folder, e=every, h=how, r=index > 0: kill(f, e, h, resume=r)
            )
            if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
                raise SystemExit(f"{plan}: the run was not killed at `{how}` (status {status})")
        status = in_a_child(lambda f=folder, e=every, r=bool(killings): train(f, e, resume=r))
        if status != 0:
            raise SystemExit(f"{plan}: the last run failed (status {status})")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
