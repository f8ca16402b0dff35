"""Measure what U M V layers cost in training: a step's CPU time, memory, and where the time goes.

Steps with plain layers and with U M V layers take turns in one process, so that a busy machine
slows all of them; a ratio is the median over the rounds of one step's process CPU time over that of
the dense step in the same round. The bound is the count of multiply-accumulates: one contraction
beside B images' convolutions, 1 + r/(B*H*W) per layer. Cases that the record has are not measured
again.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
from steps import PARTS, Case, make_steps, num_macs
from usage import describe, peak_memory, shares

from compactmtl.environment import environment
from compactmtl.files import read_json, write_json

CASES = (
    "segnet_s:8x64x64",
    "segnet_s:8x128x128",
    "segnet_s:8x288x384",
    "segnet:8x64x64",
    "segnet:8x128x128",
    "segnet:2x288x384",
    "segnet:8x288x384",
)
KINDS = ("dense", "plain_loop", "training_step", "task_step")


def main() -> None:
    """Measure the cases that are missing, write the record after each, print the table."""
    options = parse()
    torch.set_num_threads(options.threads)
    rows: dict[str, Any] = {}
    if options.output.is_file() and not options.anew:
        rows = read_json(options.output)["results"]
    for case in options.cases:
        row = rows.setdefault(str(case), {})
        row.setdefault("environment", environment())
        if "time" not in row:
            row["time"] = measure(case, options.steps, options.rounds, options.threads)
        if options.memory and "memory" not in row:
            row["memory"] = {k: peak_memory(case, k) for k in ("dense", "training_step")}
        if options.profile and "shares" not in row:
            row["shares"] = {k: shares(case, k) for k in ("dense", "training_step")}
        write_json(options.output, document(rows))
        show(str(case), row)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cases",
        nargs="+",
        type=Case.parse,
        default=[Case.parse(c) for c in CASES],
        metavar="CASE",
    )
    parser.add_argument("--steps", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true", help="peak memory, in processes apart")
    parser.add_argument("--profile", action="store_true", help="operations of one step")
    parser.add_argument("--anew", action="store_true", help="measure what the record has too")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("record.json"))
    return parser.parse_args()


def measure(case: Case, kinds: list[str], rounds: int, threads: int) -> dict[str, Any]:
    """Time each kind of step in turns; two rounds on small images come first and are not kept."""
    steps, image = make_steps(case, kinds), case.image()
    for _ in range(2):
        for step in steps.values():
            step(torch.rand(2, 3, 32, 32))
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, step in steps.items():
            found[kind].append(step(image))
    total = {kind: [sum(parts.values()) for parts in each] for kind, each in found.items()}
    forward, contraction = num_macs(case)
    return {
        "threads": threads,
        "rounds": rounds,
        "bound": 1 + contraction / forward,
        "forward_macs": forward,
        "contraction_macs": contraction,
        "dense_cpu_s": statistics.median(total["dense"]),
        "ratios": {k: ratio(total[k], total["dense"]) for k in kinds if k != "dense"},
        "parts_cpu_s": {
            kind: {part: statistics.median(parts[part] for parts in each) for part in PARTS}
            for kind, each in found.items()
        },
        "cpu_s": total,
    }


def ratio(values: list[float], reference: list[float]) -> float:
    """Return the median over rounds of one kind of step over the other in the same round."""
    return statistics.median(v / r for v, r in zip(values, reference, strict=True))


def document(rows: dict[str, Any]) -> dict[str, Any]:
    """Return the record."""
    return {
        "format_version": 2,
        "question": "what U M V layers cost in training: CPU time, memory, where the time goes",
        "settings": {"optimizer": "ProximalAdamW", "frobenius": 1e-4, "tasks": 3},
        "results": rows,
    }


def show(case: str, row: dict[str, Any]) -> None:
    """Print what is known of a case."""
    time = row["time"]
    ratios = ", ".join(f"{kind} {value:.3f}" for kind, value in time["ratios"].items())
    step = time["ratios"].get("training_step")
    beside = "" if step is None else f" ({step / time['bound']:.2f} of the bound)"
    print(f"{case}: dense {time['dense_cpu_s']:.2f} s; bound {time['bound']:.3f}; {ratios}{beside}")
    for kind, memory in row.get("memory", {}).items():
        print(f"    {kind}: {memory['peak_mib']:.0f} MiB at the peak")
    for kind, found in row.get("shares", {}).items():
        print(f"    {kind}: {describe(found)}")


if __name__ == "__main__":
    main()
