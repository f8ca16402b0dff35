"""What the bench can measure on."""

from pathlib import Path

from compactmtl.board.driver import num_gpus
from compactmtl.errors import NotPossibleHereError

JETSON_FILES = (Path("/proc/device-tree/model"), Path("/etc/nv_tegra_release"))
"""What tells a Jetson board, the second also inside containers with NVIDIA's runtime."""


def check_device(name: str) -> None:
    """Check that the bench can run on a device; on ``cuda`` it was never run on hardware.

    Raises:
        NotPossibleHereError: It cannot; the message says what was probed.
    """
    if name == "cpu" or (name == "cuda" and num_gpus()):
        return
    if name == "cuda":
        raise NotPossibleHereError(
            "cannot bench on `cuda`: no NVIDIA GPU answers (probed: the driver, libcuda.so.1)",
            hint="leave out --device, or give --device cpu",
        )
    probed = ", ".join(
        f"{path} {'is there' if path.exists() else 'is missing'}" for path in JETSON_FILES
    )
    raise NotPossibleHereError(
        f"cannot bench on `{name}`: this version measures on cpu and cuda only (probed: {probed})",
        hint="leave out --device, or give --device cpu",
    )
