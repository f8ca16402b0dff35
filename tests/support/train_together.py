"""Run as a script: train small networks in one process, or as one of several that torchrun started.

    train_together.py FOLDER CASE ...              # what torchrun starts
    train_together.py --fork 2,1 FOLDER CASE ...   # starts two itself, then one: saves seconds

Each case trains into FOLDER/CASE, one after the other (with --fork below FOLDER/2 and FOLDER/1);
`CASE:resume` goes on with it, `CASE:stop=5` sends SIGTERM to the last process in its fifth step.
"""

import itertools
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl import recipe as recipes
from compactmtl.errors import CompactMTLError
from compactmtl.multitask import make_task
from compactmtl.training import epoch, fit, processes
from compactmtl.training import micro_batch as micro

HEIGHT, WIDTH = 16, 24
FAC = {"until": 0.5, "subset": 0.5, "m_lr": 2e-2}
SPARSE = {"schedule": "ramp", "lam": 0.5, "start": 0.5, "stop": 0.75}
CASES: dict[str, dict[str, Any]] = {
    # Epochs 1-2 overparam with steps for m alone, 3 sparse, 4 debias.
    "fac": {"overparam": FAC, "sparsity": SPARSE},
    "target": {"sparsity": {"target": 0.4, "lam": 0.3, "stop": 0.75}, "train": {"clip_norm": 1.0}},
    "both": {"overparam": {**FAC, "until": 1.0}, "sparsity": SPARSE},
    "repvgg": {"overparam": {"method": "repvgg", "until": 0.5}},
    "uncertainty": {"weighting": {"name": "uncertainty"}, "overparam": {**FAC, "until": 1.0}},
    "dwa": {"weighting": {"name": "dwa"}},
    "rlw": {"weighting": {"name": "rlw"}},
    "layout": {"train": {"channels_last": True}},
    # Without batch norm halves of a batch are worked on as the whole is: one needs no parts.
    "plain": {"plain": True},
    "plain-gls": {"plain": True, "weighting": {"name": "gls"}},
    "plain-minibatch": {"plain": True, "overparam": {"iterative": "minibatch", "layers": ["*"]}},
    "smaller": {"fewer": 2},
    "torn": {"overparam": FAC, "sparsity": SPARSE},
    "local": {},
    "eager": {"train": {"checkpoint_every": "1 step"}},
}  # fmt: skip


class Blobs:
    """Coloured noise. Every fourth has no depth, every third is half unlabelled."""

    def __init__(self, num: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.rand(num, 3, HEIGHT, WIDTH, generator=generator)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        image = self.images[index]
        targets = {"seg": image.argmax(0), "depth": 0.5 + image.mean(0, keepdim=True)}
        if index % 3 == 0:
            targets["seg"][: HEIGHT // 2] = -1
        if index % 4 == 0:
            del targets["depth"]
        return image, targets


class Plain(nn.Module):
    """Two convolutions and a head per task."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 1))
        self.heads = nn.ModuleDict({"seg": nn.Conv2d(6, 3, 1), "depth": nn.Conv2d(6, 1, 1)})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        return {name: head(features) for name, head in self.heads.items()}


def plant(case: str, rank: int) -> None:
    """Make the mistake a case is there for."""
    if case == "local":  # every part counts alike, however much of it is labelled
        micro.MicroBatch.part = lambda self, name, loss: loss * self.share  # type: ignore[method-assign]
    if case == "torn" and rank == 1:  # nothing is zero here
        check = processes.Processes.check_zeros

        def torn(self: Any, groups: Any, place: str) -> None:
            with torch.no_grad():
                for group in groups:
                    group.parameter.add_(1.0)
            check(self, groups, place)

        processes.Processes.check_zeros = torn  # type: ignore[method-assign]


def stop_in(step: int) -> None:
    """Send this process SIGTERM in its so-manieth step."""
    count, is_due = itertools.count(1), epoch.Pace.is_due

    def counted(self: Any) -> bool:
        if next(count) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return is_due(self)

    epoch.Pace.is_due = counted  # type: ignore[method-assign]


def train(folder: Path, word: str) -> None:
    """Do one case."""
    case, _, how = word.partition(":")
    sections = dict(CASES[case])
    num, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    plain, fewer = sections.pop("plain", False), sections.pop("fewer", 0)
    plant(case, rank)
    document: dict[str, Any] = {
        "name": "together",
        "model": {"name": "segnet", "args": {"widths": [6, 8]}},
        "data": {"name": "given", "batch_size": 6},
        "tasks": {"seg": {}, "depth": {"weight": 0.5}},
        "train": {
            "epochs": 4, "lr": 1e-2, "weight_decay": 1e-2, "device": "cpu", "precision": "64-true",
            **({} if plain else {"accumulate": 2}), **sections.pop("train", {}),
        },
    }  # fmt: skip
    if how.startswith("stop=") and rank == num - 1:
        stop_in(int(how.removeprefix("stop=")))
    fit(
        recipes.parse(document | sections, source="test"),
        run_dir=folder / case,
        resume=how == "resume",
        model=Plain() if plain else None,
        train_data=Blobs(20 - (fewer if rank else 0), 0),
        val_data=Blobs(5, 1),
        tasks={
            "seg": make_task("seg", "segmentation", {"num_classes": 3}),
            "depth": make_task("depth", "depth", {}),
        },
    )


def work(folder: Path, cases: list[str]) -> int:
    """Do all cases; return an exit code."""
    torch.set_num_threads(1)
    rank = os.environ.get("RANK", "0")
    try:
        for case in cases:
            train(folder, case)
    except CompactMTLError as error:
        sys.stdout.write(f"rank {rank}: {type(error).__name__}: {error}\n")
        return error.exit_code
    return 0


def fork(num: int, folder: Path, cases: list[str]) -> int:
    """Start the processes as torchrun does; when one fails, end the others; return its code."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = set()
    for rank in range(num):
        pid = os.fork()
        if pid == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(num)}
            os.environ |= {"LOCAL_WORLD_SIZE": str(num), "MASTER_ADDR": "127.0.0.1"}
            os.environ["MASTER_PORT"] = str(port)
            code = 1
            try:
                code = work(folder, cases)
                sys.stdout.flush()
            finally:
                if code == 1:
                    traceback.print_exc()
                os._exit(code)
        children.add(pid)
    failed = 0
    while children:
        pid, status = os.wait()
        children.discard(pid)
        failed = failed or os.waitstatus_to_exitcode(status)
        if failed:
            for other in children:
                os.kill(other, signal.SIGKILL)
    return failed


if __name__ == "__main__":
    given = sys.argv[1:]
    if given[0] == "--fork":
        codes = [fork(int(n), Path(given[2]) / n, given[3:]) for n in given[1].split(",")]
        sys.exit(max(codes))
    sys.exit(work(Path(given[0]), given[1:]))
