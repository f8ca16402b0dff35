"""A Jetson made of files and scripts: device tree, release, clocks, `tegrastats`, `nvpmodel`.

It shows that our code reads what such boards are known to say. It is no evidence that a board says
it, and everything printed about it says "simulated".
"""

from dataclasses import dataclass
from pathlib import Path

from jetson_lines import AGX_ORIN_7_2, ORIN_NANO, THOR_7_0

NV_TEGRA = (
    "# R{major} (release), REVISION: {minor}, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x"
)


@dataclass(frozen=True)
class Kind:
    """A board to simulate."""

    model: str
    compatible: str
    release: tuple[str, str]
    line: str
    mode: str = "MAXN"


KINDS = {
    "orin-nano": Kind(
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
        ("36", "4.4"),
        ORIN_NANO,
        "25W",
    ),
    "agx-orin": Kind(
        "NVIDIA Jetson AGX Orin Developer Kit",
        "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
        ("39", "2.0"),
        AGX_ORIN_7_2,
    ),
    "thor": Kind(
        "NVIDIA Jetson AGX Thor Developer Kit",
        "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0",
        ("38", "2.0"),
        THOR_7_0,
    ),
}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def put_program(folder: Path, name: str, script: str) -> None:
    """Put a shell script where the board finds programs."""
    write(folder / name, f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def make_root(root: Path, kind: str = "orin-nano", *, locked: bool = False) -> Path:
    """Write the files of a board under a folder."""
    board = KINDS[kind]
    major, minor = board.release
    write(root / "proc/device-tree/model", board.model + "\0")
    write(root / "proc/device-tree/compatible", board.compatible)
    write(root / "etc/nv_tegra_release", NV_TEGRA.format(major=major, minor=minor) + "\n")
    gpu = root / "sys/class/devfreq/17000000.gpu"
    for name, value in {"min": 1020 if locked else 306, "max": 1020, "cur": 1020}.items():
        write(gpu / f"{name}_freq", f"{value}000000\n")
    write(gpu / "governor", "nvhost_podgov\n")
    cpu = root / "sys/devices/system/cpu/cpufreq/policy0"
    for name, value in {"min": 1728 if locked else 729, "max": 1728, "cur": 729}.items():
        write(cpu / f"scaling_{name}_freq", f"{value}000\n")
    write(cpu / "scaling_governor", "schedutil\n")
    for number in (1, 2, 3):
        write(root / f"sys/class/hwmon/hwmon1/oc{number}_event_cnt", "0\n")
    return root


def put_programs(programs: Path, kind: str = "orin-nano", lines: list[str] | None = None) -> None:
    """Write `tegrastats` and `nvpmodel`; the last line is repeated for ever."""
    write(programs / "lines.txt", "\n".join(lines or [KINDS[kind].line]) + "\n")
    put_program(
        programs,
        "tegrastats",
        # `read` empties its variable at the end of the file, so the last line needs its own.
        f'while read -r line; do last=$line; echo "$last"; sleep 0.1; done < {programs}/lines.txt\n'
        'while :; do echo "$last"; sleep 0.1; done',
    )
    put_program(programs, "nvpmodel", f'echo "NV Power Mode: {KINDS[kind].mode}"; echo 1')
