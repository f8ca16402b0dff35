"""What the bench can measure on."""

from pathlib import Path

from compactmtl.errors import NotPossibleHereError

JETSON_FILES = (Path("/proc/device-tree/model"), Path("/etc/nv_tegra_release"))
"""What tells a Jetson board, the second also inside containers with NVIDIA's runtime."""


def check_device(name: str) -> None:
    """Check that the bench can run on a device; it runs on ``cpu``.

    Raises:
        NotPossibleHereError: It cannot; the message says what was probed.
    """
    if name == "cpu":
        return
    if name == "jetson":
        probed = ", ".join(
            f"{path} {'is there' if path.exists() else 'is missing'}" for path in JETSON_FILES
        )
    else:
        import onnxruntime as ort  # only to say what this build could run on

        probed = f"ONNX Runtime offers {', '.join(ort.get_available_providers())}"
    raise NotPossibleHereError(
        f"cannot bench on `{name}`: this version measures on cpu only (probed: {probed})",
        hint="leave out --device, or give --device cpu",
    )
