"""Releases of Jetson Linux (L4T): which JetPack each is, and what that ships."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """What one release of Jetson Linux brings.

    Attributes:
        l4t: First numbers of the release, as in ``36.4``.
        jetpack: JetPack that has it.
        tensorrt: TensorRT of that JetPack; not necessarily what is installed.
        cuda: CUDA of that JetPack.
        python: The system's Python.
    """

    l4t: str
    jetpack: str
    tensorrt: str
    cuda: str
    python: str


RELEASES = (
    Release("32.7", "4.6", "8.2", "10.2", "3.6"),
    Release("35.2", "5.1", "8.5", "11.4", "3.8"),
    Release("35.3", "5.1.1", "8.5", "11.4", "3.8"),
    Release("35.4", "5.1.2", "8.5", "11.4", "3.8"),
    Release("35.5", "5.1.3", "8.5", "11.4", "3.8"),
    Release("35.6.0", "5.1.4", "8.5", "11.4", "3.8"),
    Release("35.6", "5.1.5", "8.5", "11.4", "3.8"),
    Release("36.2", "6.0 (preview)", "8.6", "12.2", "3.10"),
    Release("36.3", "6.0", "8.6", "12.2", "3.10"),
    Release("36.4.0", "6.1", "10.3", "12.6", "3.10"),
    Release("36.4.3", "6.2", "10.3", "12.6", "3.10"),
    Release("36.4.4", "6.2.1", "10.3", "12.6", "3.10"),
    Release("36.4.7", "6.2.1", "10.3", "12.6", "3.10"),
    Release("36.5", "6.2.2", "10.3", "12.6", "3.10"),
    Release("38.2", "7.0", "10.13", "13.0", "3.12"),
    Release("38.4", "7.1", "10.13", "13.0", "3.12"),
    Release("39", "7.2", "10", "13.2", "3.12"),
)
"""Sources: dusty-nv/jetson-containers, ``l4t_version.py``; rbonghi/jetson_stats,
``jetson_variables.py``; NVIDIA's JetPack and TensorRT release notes. R39.2's point releases can
have TensorRT 11.4 beside 10."""

_TEGRA_RELEASE = re.compile(r"#\s*R(\d{1,3})\s*\(release\),\s*REVISION:\s*(\d{1,3}(?:\.\d{1,3})*)")
_PACKAGE = re.compile(r"(\d{1,3}(?:\.\d{1,3})+)-")


def parse_tegra_release(text: str) -> str | None:
    """Return the release in the first line of ``/etc/nv_tegra_release``, as in ``36.4.4``.

    Its BOARD is not read: it is wrong on most boards.
    """
    match = _TEGRA_RELEASE.match(text)
    return f"{match[1]}.{match[2]}" if match else None


def parse_package_version(text: str) -> str | None:
    """Return the release that the version of the package ``nvidia-l4t-core`` states."""
    match = _PACKAGE.match(text.strip())
    return match[1] if match else None


def find_release(l4t: str) -> Release | None:
    """Return what a release brings, by the longest entry that it begins with; None if unknown."""
    numbers = l4t.split(".")
    fitting = [
        each for each in RELEASES if numbers[: len(each.l4t.split("."))] == each.l4t.split(".")
    ]
    return max(fitting, key=lambda each: len(each.l4t.split(".")), default=None)
