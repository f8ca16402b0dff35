"""What one step holds in memory, and which operations its time goes to."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from steps import Case, make_steps
from torch.profiler import ProfilerActivity, profile

FAMILIES = {
    "convolutions": ("conv",),
    "products of factors": ("aten::mm", "aten::bmm", "aten::addmm"),
    "batch norm": ("batch_norm",),
    "pooling": ("max_pool", "max_unpool"),
    "optimiser": ("_foreach",),
}
"""Families of operations by what their names contain; the rest is elementwise and copies."""


def peak_memory(case: Case, kind: str) -> dict[str, float]:
    """Run two steps in a process of its own; return its memory before and at its peak, in MiB.

    Linux only: the peak is read from /proc.
    """
    command = [sys.executable, str(Path(__file__)), str(case), kind]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    before, peak = json.loads(done.stdout.splitlines()[-1])
    return {"before_mib": before, "peak_mib": peak}


def shares(case: Case, kind: str) -> dict[str, float]:
    """Profile one step, after two that are not kept; return each family's share of CPU time."""
    step, image = make_steps(case, [kind])[kind], case.image()
    for _ in range(2):
        step(image)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        step(image)
    spent: dict[str, float] = dict.fromkeys([*FAMILIES, "elementwise and copies"], 0.0)
    for event in seen.key_averages():
        found = [family for family, parts in FAMILIES.items() if any(p in event.key for p in parts)]
        spent[found[0] if found else "elementwise and copies"] += event.self_cpu_time_total
    return {family: time / sum(spent.values()) for family, time in spent.items()}


def _measure(case: Case, kind: str) -> tuple[float, float]:
    torch.set_num_threads(1)
    step, image = make_steps(case, [kind])[kind], case.image()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak: expanding has one of its own
    before = _status("VmRSS")
    for _ in range(2):
        step(image)
    return before, _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def describe(found: dict[str, Any]) -> str:
    """Return shares as a line."""
    return ", ".join(f"{family} {share:.0%}" for family, share in found.items())


if __name__ == "__main__":
    print(json.dumps(_measure(Case.parse(sys.argv[1]), sys.argv[2])))
