"""Measure the proximal step: its CPU time for 25 M weights, and its share of a training step.

``ProximalAdamW`` with a penalty and without one (which is AdamW) step in turns from the same
gradients, so that a busy machine slows both; the difference within a round is the proximal step.
Its share is that difference over the CPU time of forward, backward and AdamW in the same round.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.environment import environment
from compactmtl.files import write_json
from compactmtl.models import MODELS
from compactmtl.sparsity import ProximalAdamW, groups

TASKS = {"seg": 13, "depth": 1, "normals": 3}
TARGET = 25_000_000
LAM = 1e-4
"""Small enough that few groups die: a dead group costs the same."""


def main() -> None:
    """Run the benchmark, print a table and write the record."""
    options = parse()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    rows = [measure(*case, options.rounds) for case in cases(options.quick)]
    print(f"{options.threads} thread(s), median of {options.rounds} rounds, CPU seconds")
    print(f"{'network':<32} {'weights':>9} {'prox':>8} {'per 25 M':>9} {'step':>8} {'share':>7}")
    for row in rows:
        share = "" if row["share"] is None else f"{row['share']:.2%}"
        step = "" if row["step_cpu_s"] is None else f"{row['step_cpu_s']:.2f}"
        print(
            f"{row['network']:<32} {row['num_weights'] / 1e6:>7.1f} M {row['prox_cpu_s']:>8.3f} "
            f"{row['prox_cpu_s_per_25m']:>9.3f} {step:>8} {share:>7}"
        )
    document = {
        "format_version": 1,
        "question": "CPU time of the proximal step, and its share of a training step",
        "environment": environment(),
        "settings": {
            "threads": options.threads,
            "rounds": options.rounds,
            "tasks": TASKS,
            "lam": LAM,
            "precision": "float32",
            "limit": "as many groups may be zero as the target schedule asks for",
        },
        "results": rows,
    }
    write_json(options.output, document)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="without DeepLab (minutes)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("record.json"))
    return parser.parse_args()


def cases(quick: bool) -> list[tuple[str, nn.Module, tuple[int, ...] | None, str]]:
    """Return name, network, batch of images (None: no training step) and what a group is."""
    found: list[tuple[str, nn.Module, tuple[int, ...] | None, str]] = [
        ("25 M weights, 3x3", stack(3), None, "input"),
        ("25 M weights, 1x1", stack(1), None, "input"),
        ("25 M weights, l1", stack(3), None, "weight"),
        ("SegNet-S, batch 8, 128x128", MODELS["segnet_s"](TASKS), (8, 3, 128, 128), "input"),
    ]
    if not quick:
        deeplab = MODELS["deeplab_resnet50"](TASKS)
        found.append(("DeepLab-ResNet-50, batch 8, 256x256", deeplab, (8, 3, 256, 256), "input"))
    return found


def stack(kernel: int) -> nn.Module:
    """Return convolutions of 512 channels with about 25 M weights."""
    num = round(TARGET / (512 * 512 * kernel**2))
    return nn.Sequential(*(nn.Conv2d(512, 512, kernel, bias=False) for _ in range(num)))


def measure(
    name: str, net: nn.Module, batch: tuple[int, ...] | None, by: Any, rounds: int
) -> dict[str, Any]:
    """Time steps with and without the penalty in turns; the first round is a warm-up."""
    every = {"layers": "*", "reads": ()} if batch is None else {}
    found = groups(net, **every, by=by)  # type: ignore[arg-type]
    optimizer = ProximalAdamW(net.parameters(), groups=found, lam=0.0, lr=1e-4)
    optimizer.max_zero_groups = sum(group.num_groups for group in found) // 2
    num_weights = sum(group.parameter.numel() for group in found)
    work: list[float] = []
    plain: list[float] = []
    prox: list[float] = []
    for _ in range(rounds + 1):
        work.append(cpu_seconds(lambda: backward(net, batch)))
        optimizer.lam = 0.0
        plain.append(cpu_seconds(optimizer.step))
        optimizer.lam = LAM
        prox.append(cpu_seconds(optimizer.step) - plain[-1])
    work, plain, prox = work[1:], plain[1:], prox[1:]
    cost = statistics.median(prox)
    step = [w + p for w, p in zip(work, plain, strict=True)]
    return {
        "network": name,
        "groups": by,
        "num_weights": num_weights,
        "num_groups": sum(group.num_groups for group in found),
        "prox_cpu_s": cost,
        "prox_cpu_s_per_25m": cost * TARGET / num_weights,
        "adamw_cpu_s": statistics.median(plain),
        "step_cpu_s": None if batch is None else statistics.median(step),
        "share": None
        if batch is None
        else statistics.median(p / s for p, s in zip(prox, step, strict=True)),
        "prox_cpu_s_by_round": prox,
    }


def backward(net: nn.Module, batch: tuple[int, ...] | None) -> None:
    """Fill the gradients: by a forward and a backward pass, or at random."""
    if batch is None:
        for parameter in net.parameters():
            parameter.grad = torch.randn_like(parameter) * 1e-3
        return
    net.zero_grad()
    outputs: dict[str, Tensor] = net(torch.rand(*batch))
    torch.stack([output.square().mean() for output in outputs.values()]).sum().backward()


def cpu_seconds(action: Callable[[], object]) -> float:
    """Return the process CPU time of a call."""
    began = time.process_time()
    action()
    return time.process_time() - began


if __name__ == "__main__":
    main()
