"""What a measurement was made on: versions, processor, load. Nothing that names anyone."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx")
"""Distributions on a board whose versions may change a result."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def version(distribution: str) -> str | None:
    """Return the installed version of a distribution, without importing it; None if absent."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def load_average() -> float | None:
    """Return the mean number of runnable processes in the last minute; None where unknown."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):  # AttributeError: Windows has no such call
        return None


def describe(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Describe this machine and its software as JSON data.

    Holds no host name, no user name and no paths, so a record can be published as it is.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        # What follows the number of a kernel names the builder, not the behaviour.
        "os": f"{platform.system()} {platform.release().partition('-')[0]}",
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_gib": memory_gib(),
        "threads": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        "load_average": load_average(),
    }


def cpu_model() -> str:
    """Return the processor's name, or the architecture where the system does not tell it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        # x86 says "model name"; many ARM boards say "Model" or "Hardware" for the whole board.
        fields = {
            key.strip(): value.strip()
            for key, colon, value in (
                line.partition(":") for line in info.read_text(encoding="utf-8").splitlines()
            )
            if colon
        }
        for key in ("model name", "Model", "Hardware"):
            if fields.get(key):
                return fields[key]
    return platform.processor() or platform.machine()


def usable_cores() -> int | None:
    """Return how many cores this process may run on, which a container may have limited."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def memory_gib() -> float | None:
    """Return the machine's memory in GiB; None where the system does not tell it."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
