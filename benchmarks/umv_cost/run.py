"""Measure what U M V layers cost in training: CPU time of a step over that of plain layers.

Dense, UMV in a plain loop and UMV in ``training_step`` take turns in one process, so that a busy
machine slows all of them; ratios are medians over the rounds. The prediction is the count of
multiply-accumulates: one contraction beside B images' convolutions, 1 + r/(B*H*W) per layer.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.complexity import count
from compactmtl.environment import environment
from compactmtl.files import write_json
from compactmtl.models import MODELS
from compactmtl.overparam import expand, frobenius, param_groups, training_step
from compactmtl.overparam.kernel import expanded_layers

TASKS = {"seg": 13, "depth": 1, "normals": 3}
COEF = 1e-4
"""Frobenius decay: the paper's."""


def main() -> None:
    """Run the benchmark, print a table and write the record."""
    options = parse()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    dense = MODELS[options.model](TASKS)
    umv = copy.deepcopy(dense)
    report = expand(umv, tasks=list(TASKS))
    sizes = [parse_size(size) for size in options.sizes]
    if options.large:
        sizes.append((288, 384))
    rows = [measure(dense, umv, options.batch, size, options.rounds) for size in sizes]
    print(f"{options.model}, batch {options.batch}, {options.threads} thread(s)")
    print(f"{'size':>9} {'dense s':>9} {'plain loop':>11} {'training_step':>14} {'predicted':>10}")
    for row in rows:
        print(
            f"{row['height']:>4}x{row['width']:<4} {row['dense_cpu_s']:>9.3f} "
            f"{row['ratio_plain_loop']:>11.2f} {row['ratio_training_step']:>14.2f} "
            f"{row['ratio_predicted']:>10.2f}"
        )
    document = {
        "format_version": 1,
        "question": "CPU time of a training step with U M V layers over one with plain layers",
        "environment": environment(),
        "settings": {
            "model": options.model,
            "batch_size": options.batch,
            "threads": options.threads,
            "rounds": options.rounds,
            "tasks": TASKS,
            "optimizer": "AdamW",
            "num_params_dense": report.num_params_before,
            "num_params_umv": report.num_params_after,
        },
        "results": rows,
    }
    write_json(options.output, document)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="segnet_s", choices=list(MODELS))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sizes", nargs="+", default=["64x64", "128x128"], metavar="HxW")
    parser.add_argument("--large", action="store_true", help="also 288x384 (minutes per round)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("record.json"))
    return parser.parse_args()


def parse_size(text: str) -> tuple[int, int]:
    """Read a size as in 64x64."""
    height, width = text.split("x")
    return int(height), int(width)


def measure(
    dense: nn.Module, umv: nn.Module, batch: int, size: tuple[int, int], rounds: int
) -> dict[str, Any]:
    """Time the three kinds of step in turns; the first round is a warm-up and not kept."""
    image = torch.rand(batch, 3, *size)
    optimizer = torch.optim.AdamW(dense.parameters(), lr=1e-4)
    optimizer_umv = torch.optim.AdamW(param_groups(umv, lr=1e-4))

    def dense_step() -> None:
        optimizer.zero_grad()
        loss_of(dense, image).backward()
        optimizer.step()

    def plain_loop() -> None:
        optimizer_umv.zero_grad()
        (loss_of(umv, image) + frobenius(umv, COEF)).backward()
        optimizer_umv.step()

    def one_contraction() -> None:
        optimizer_umv.zero_grad()
        with training_step(umv, optimizer_umv, frobenius=COEF):
            loss_of(umv, image).backward()
        optimizer_umv.step()

    steps: dict[str, Callable[[], None]] = {
        "dense": dense_step,
        "plain_loop": plain_loop,
        "training_step": one_contraction,
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            began = time.process_time()
            step()
            seconds[name].append(time.process_time() - began)
    kept = {name: values[1:] for name, values in seconds.items()}
    conv, contraction = num_macs(dense, umv, image)
    return {
        "height": size[0],
        "width": size[1],
        "dense_cpu_s": statistics.median(kept["dense"]),
        **{f"ratio_{name}": ratio(kept[name], kept["dense"]) for name in list(steps)[1:]},
        "ratio_predicted": 1 + contraction / conv,
        "forward_macs": conv,
        "contraction_macs": contraction,
        "cpu_s": kept,
    }


def loss_of(net: nn.Module, image: Tensor) -> Tensor:
    """Return a loss that reaches every parameter."""
    outputs: dict[str, Tensor] = net(image)
    return torch.stack([output.square().mean() for output in outputs.values()]).sum()


def ratio(values: list[float], reference: list[float]) -> float:
    """Return the median over rounds of one kind of step over the other in the same round."""
    return statistics.median(v / r for v, r in zip(values, reference, strict=True))


def num_macs(dense: nn.Module, umv: nn.Module, image: Tensor) -> tuple[int, int]:
    """Return the multiply-accumulates of a batch's forward pass, and of one contraction."""
    twin = copy.deepcopy(dense).eval()
    contraction = 0
    for _, _, factors in expanded_layers(umv):
        left, right = factors.shared_parameters()
        contraction += left.shape[0] * left.shape[1] * right.shape[1]
    return count(twin, image).macs, contraction


if __name__ == "__main__":
    main()
