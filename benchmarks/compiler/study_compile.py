"""Part 3: CPU time and memory of compiling and of verifying, each in a fresh process.

Run as a script, it measures one network in its own process and prints JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

STATUS = Path("/proc/self/status")
DEPTHS = (10, 30, 100)
SIZE = 64


class Blocks(nn.Module):
    """A residual network as deep as one likes."""

    def __init__(self, num_blocks: int, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width),
            )
            for _ in range(num_blocks)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the stream."""
        x = self.stem(x)
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return x


class Meter:
    """CPU time and peak memory of the steps that ``compress`` announces.

    Attributes:
        cpu_s: Per kind of step, "compile" or "verify".
        peak_mib: Per kind of step the largest resident memory above that at the start.
        steps_mib: The same per step.
    """

    def __init__(self) -> None:
        self.cpu_s = {"compile": 0.0, "verify": 0.0}
        self.peak_mib = {"compile": 0.0, "verify": 0.0}
        self.steps_mib: dict[str, float] = {}
        self._kind, self._name = "compile", "start"
        self._start_mib = resident_mib("VmRSS")
        self._begin()

    def _begin(self) -> None:
        forget_peak()
        self._began = time.process_time()

    def end(self) -> None:
        """Note the step that ran until now."""
        self.cpu_s[self._kind] += time.process_time() - self._began
        extra = resident_mib("VmHWM") - self._start_mib
        self.peak_mib[self._kind] = max(self.peak_mib[self._kind], extra)
        self.steps_mib[self._name] = round(extra, 1)

    def step(self, name: str, left: int) -> None:
        """Take the announcement of a step."""
        self.end()
        self._kind, self._name = "verify" if name.startswith("verify") else "compile", name
        self._begin()


def resident_mib(field: str) -> float:
    """Return resident memory now (VmRSS) or at its peak (VmHWM). Unit: MiB; Linux only."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
    return int(lines[field].split()[0]) / 1024


def forget_peak() -> None:
    """Let the peak start anew from what is resident now."""
    STATUS.with_name("clear_refs").write_text("5")


def deeplab() -> nn.Module:
    """Return the DeepLab of part 2 with sparse heads."""
    from study_latency import SUBJECTS

    return SUBJECTS["deeplab"]().network


def blocks(num_blocks: int) -> nn.Module:
    """Return a deep residual network with half of its groups zero."""
    from sparse_families.sparsify import randomise_norms, zero_shares

    torch.manual_seed(0)
    return zero_shares(randomise_norms(Blocks(num_blocks), 1), lambda _: 0.5, 2)


def measure_one(name: str) -> dict[str, Any]:
    """Compile one network in this process and measure it."""
    from compactmtl.compiler import compress

    torch.set_num_threads(1)
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    network = deeplab() if name == "deeplab" else blocks(int(name))
    if name != "deeplab":
        compress(blocks(1), image)  # what Python imports at first use does not grow with depth
    weights_mib = sum(p.numel() * p.element_size() for p in network.parameters()) / 2**20
    forward_mib = peak_of(lambda: network.double()(image.double()))
    network.float()
    meter = Meter()
    compact = compress(network, image, progress=meter.step)
    meter.end()
    return {
        "network": name,
        "num_nodes": len(compact.dense.graph.nodes),
        "num_params": compact.report.before.num_params,
        "weights_mib": weights_mib,
        "forward_fp64_mib": forward_mib,
        "cpu_s": meter.cpu_s,
        "peak_extra_mib": meter.peak_mib,
        "peak_extra_mib_by_step": meter.steps_mib,
        "peak_extra_over_weights": {k: v / weights_mib for k, v in meter.peak_mib.items()},
    }


def peak_of(call: Callable[[], object]) -> float:
    """Return by how many MiB a call raises the resident memory at most, its weights included."""
    before = resident_mib("VmRSS")
    forget_peak()
    with torch.no_grad():
        call()
    return resident_mib("VmHWM") - before


def measure(names: Sequence[str] = ("deeplab", *map(str, DEPTHS))) -> list[dict[str, Any]]:
    """Return one row per network, each measured in a process of its own."""
    rows = []
    print(
        f"\n{'network':>10} {'nodes':>6} {'weights':>9} {'compile':>10} {'extra':>16} "
        f"{'verify':>10} {'extra':>16}"
    )
    for name in names:
        command = [sys.executable, __file__, name]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        rows.append(row)
        parts = " ".join(
            f"{row['cpu_s'][kind]:8.2f} s {row['peak_extra_mib'][kind]:7.0f} MiB "
            f"{row['peak_extra_over_weights'][kind]:3.1f}x"
            for kind in ("compile", "verify")
        )
        print(f"{name:>10} {row['num_nodes']:>6} {row['weights_mib']:5.0f} MiB {parts}")
    return rows


if __name__ == "__main__":
    print(json.dumps(measure_one(sys.argv[1])))
