"""What the bench can measure on."""

from compactmtl.board.bench.on_device import JETSON
from compactmtl.board.driver import num_gpus
from compactmtl.board.jetson.measured import check_jetson
from compactmtl.errors import NotPossibleHereError
from compactmtl.export.board_errors import translated


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
    if name != JETSON:
        raise NotPossibleHereError(
            f"cannot bench on `{name}`: this version measures on cpu, cuda and {JETSON}",
            hint="leave out --device, or give --device cpu",
        )
    with translated():
        check_jetson()
