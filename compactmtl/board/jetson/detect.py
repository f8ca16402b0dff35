"""Whether this is a Jetson, and which.

Asked are files alone, and the package database where one of them is missing; ``nvidia-smi`` is not
on every Jetson. In a container the files may be absent; NVIDIA's runtime normally brings
``/etc/nv_tegra_release``, and the kernel its own device tree.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from compactmtl.board.jetson.modules import CHIPS, MODULES, Chip
from compactmtl.board.jetson.releases import (
    Release,
    find_release,
    parse_package_version,
    parse_tegra_release,
)

MODEL = "proc/device-tree/model"
COMPATIBLE = "proc/device-tree/compatible"
TEGRA_RELEASE = "etc/nv_tegra_release"
PACKAGE = "nvidia-l4t-core"
CONTAINER_FILES = (".dockerenv", "run/.containerenv")
SECONDS = 10
_PART = re.compile(r"p\d{4}-\d{4}")


@dataclass(frozen=True)
class Jetson:
    """What this machine says of itself; None where it does not say.

    Attributes:
        model: The board's own words.
        part: Part number of the module, as in ``p3767-0003``.
        module: Its name.
        chip: Its system on chip.
        l4t: Release of Jetson Linux, as in ``36.4.4``.
        release: What that release brings.
        in_container: Whether this runs in a container.
        probes: Each thing that was asked, and what it said.
    """

    model: str | None
    part: str | None
    module: str | None
    chip: Chip | None
    l4t: str | None
    release: Release | None
    in_container: bool
    probes: dict[str, str]

    @property
    def is_jetson(self) -> bool:
        """Whether anything tells a Jetson."""
        named = self.model is not None and "jetson" in self.model.lower()
        return self.chip is not None or self.l4t is not None or named

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON data."""
        release = self.release
        return {
            "model": self.model,
            "part": self.part,
            "module": self.module,
            "chip": self.chip and self.chip.name,
            "family": self.chip and self.chip.family,
            "compute_capability": self.chip and self.chip.compute_capability,
            "l4t": self.l4t,
            "jetpack": release and release.jetpack,
            "jetpack_tensorrt": release and release.tensorrt,
            "jetpack_cuda": release and release.cuda,
            "in_container": self.in_container,
        }


def detect(root: Path = Path("/")) -> Jetson:
    """Look at this machine.

    Args:
        root: Where its files lie; another folder shows another machine. The package database is
            asked only for this machine's own root.
    """
    probes: dict[str, str] = {}
    model = _read(root, MODEL, probes)
    compatible = _read(root, COMPATIBLE, probes)
    stated = _read(root, TEGRA_RELEASE, probes)
    l4t = parse_tegra_release(stated) if stated else None
    if stated and l4t is None:
        probes[f"/{TEGRA_RELEASE}"] = "is there, but states no release"
    if l4t is None and root == Path("/"):
        l4t = _from_package(probes)
    words = (compatible or "").split("\0")
    part = next(
        (part for word in words for part in _PART.findall(word) if part in MODULES),
        None,
    )
    chip = next((chip for word in words for name, chip in CHIPS.items() if name in word), None)
    return Jetson(
        model=model.strip("\0 \n") if model else None,
        part=part,
        module=MODULES.get(part) if part else None,
        chip=chip,
        l4t=l4t,
        release=find_release(l4t) if l4t else None,
        in_container=any((root / file).exists() for file in CONTAINER_FILES),
        probes=probes,
    )


def why_not(jetson: Jetson) -> str:
    """Return what was asked and what it said, in one line."""
    asked = ", ".join(f"{name} {said}" for name, said in jetson.probes.items())
    where = "; this is a container, whose host may be one" if jetson.in_container else ""
    return f"{asked}{where}"


def _read(root: Path, name: str, probes: dict[str, str]) -> str | None:
    try:
        text = (root / name).read_bytes()[:65536].decode(errors="replace")
    except FileNotFoundError:
        probes[f"/{name}"] = "is missing"
        return None
    except OSError as error:
        probes[f"/{name}"] = f"cannot be read ({error.strerror or error})"
        return None
    probes[f"/{name}"] = "is there"
    return text


def _from_package(probes: dict[str, str]) -> str | None:
    command = ["dpkg-query", "-W", "-f", "${Version}", PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        probes[f"package {PACKAGE}"] = "cannot be asked for"
        return None
    found = parse_package_version(done.stdout) if done.returncode == 0 else None
    probes[f"package {PACKAGE}"] = "is installed" if found else "is not installed"
    return found
