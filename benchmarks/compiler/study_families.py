"""Part 1: eight families, ours and Torch-Pruning's result against the bounds."""

import copy
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from bounds import bounds
from sparse_families import FAMILIES, UNPOOLING, Family
from torch import Tensor, nn

from compactmtl.compiler import compress
from compactmtl.complexity import count

EXACT = 1e-11
"""Largest relative error of float64 outputs that is plain reordering of sums."""
SEED = 0


def measure(names: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return one row per family: MACs, bounds, and what every tool made of it, in float64.

    In float32 rounding alone flips the choice between two maxima that are nearly equal.
    SegNet with unpooling comes along, but is none of the eight.
    """
    every = {**FAMILIES, "segnet": UNPOOLING}
    return [study(name, every[name]) for name in names or every]


def study(name: str, family: Family) -> dict[str, Any]:
    """Return the row of one family, printed as it is found."""
    network, image = family.make(seed=SEED).double(), family.images().double()
    found, dense = bounds(network, image), count(network, image)
    row: dict[str, Any] = {
        "family": name,
        "letter": family.letter,
        "title": family.title,
        "size": family.size,
        "macs_dense": dense.macs,
        "num_params_dense": dense.num_params,
        "macs_coupled_bound": found.coupled,
        "macs_gather_bound": found.gather,
        "results": {},
    }
    for tool, shrink in TOOLS.items():
        row["results"][tool] = attempt(shrink, network, image)
        show(row, tool)
    return row


def attempt(
    shrink: Callable[[nn.Module, Tensor], nn.Module], network: nn.Module, image: Tensor
) -> dict[str, Any]:
    """Return MACs, parameters, error and CPU time of one tool's result, or how it crashed."""
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            small = shrink(copy.deepcopy(network), image)
        seconds = time.process_time() - began
        error = output_error(small, network, image)
        cost = count(small, image)
    except Exception as failure:  # noqa: BLE001 - whatever a tool raises is its result
        line = " ".join(str(failure).split())[:160]
        return {"verdict": "crash", "why": f"{type(failure).__name__}: {line}"}
    return {
        "verdict": "exact" if error < EXACT else "wrong",
        "max_rel_error": error,
        "macs": cost.macs,
        "num_params": cost.num_params,
        "cpu_s": round(seconds, 2),
    }


def ours(objective: str, *, gather: bool = True) -> Callable[[nn.Module, Tensor], nn.Module]:
    """Return our compiler under one policy, verification included."""

    def shrink(network: nn.Module, image: Tensor) -> nn.Module:
        return compress(network, image, objective=objective, gather=gather, dynamic=False).module

    return shrink


def torch_pruning(*, guards: bool) -> Callable[[nn.Module, Tensor], nn.Module]:
    """Return the careful driver; it is imported where it is used, for it is an extra."""

    def shrink(network: nn.Module, image: Tensor) -> nn.Module:
        from torch_pruning_driver import prune

        prune(network, image, guards=guards)
        return network

    return shrink


TOOLS = {
    "macs": ours("macs"),
    "latency": ours("latency"),
    "no gather": ours("latency", gather=False),
    "Torch-Pruning": torch_pruning(guards=False),
    "Torch-Pruning, guards": torch_pruning(guards=True),
}


def output_error(network: nn.Module, reference: nn.Module, image: Tensor) -> float:
    """Return the largest error of any output relative to the largest number of that output."""
    with torch.no_grad():
        pairs = zip(tensors(network(image)), tensors(reference(image)), strict=True)
        return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def tensors(outputs: Any) -> list[Tensor]:
    """Return a network's outputs as a list."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs.values())


def show(row: dict[str, Any], tool: str) -> None:
    """Print one result."""
    result = row["results"][tool]
    if tool == next(iter(row["results"])):
        print(
            f"({row['letter']}) {row['title']}, {row['size']}x{row['size']}: "
            f"{row['macs_dense'] / 1e6:.1f} M MACs, coupled bound "
            f"{row['macs_coupled_bound'] / 1e6:.2f} M, gather bound "
            f"{row['macs_gather_bound'] / 1e6:.2f} M"
        )
    if result["verdict"] == "crash":
        print(f"    {tool:22} crash: {result['why'][:90]}")
        return
    print(
        f"    {tool:22} {result['verdict']:6} {result['macs'] / 1e6:10.2f} M "
        f"{result['macs'] / row['macs_gather_bound']:7.3f} x gather bound   "
        f"error {result['max_rel_error']:.1e}   {result['cpu_s']:.1f} CPU s"
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return per tool how many of the eight it got exactly right."""
    eight = [row for row in rows if row["family"] in FAMILIES]
    return {
        tool: sum(row["results"][tool]["verdict"] == "exact" for row in eight) for tool in TOOLS
    }
