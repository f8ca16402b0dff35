"""What a device adds to a measurement: a Jetson and a GPU are watched meanwhile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from compactmtl.board.bench.gpu_watch import GpuWatch
from compactmtl.board.bench.watch import Watch
from compactmtl.board.cudart import Cuda
from compactmtl.board.errors import AskedError
from compactmtl.board.nvml import Nvml

CUDA, JETSON = "cuda", "jetson"


def measure_on(
    device: str,
    run: Callable[[Watch | None], dict[str, Any]],
    *,
    lock_clocks: bool = False,
    record_to: Path | None = None,
) -> dict[str, Any]:
    """Measure on a device.

    Args:
        device: Its name.
        run: The measurement; returns the record as JSON data.
        lock_clocks: Set a Jetson's clocks to their maximum meanwhile.
        record_to: Where a recording of all that was seen of a Jetson goes.

    Raises:
        AskedError: The device has no clocks of ours to lock, and nothing to record.
        NotHereError: It is a Jetson that is asked for, and this is none.
    """
    if device == JETSON:
        from compactmtl.board.jetson.measured import measure_watched

        return measure_watched(run, lock_clocks=lock_clocks, record_to=record_to)
    if lock_clocks or record_to is not None:
        raise AskedError(
            f"--lock-clocks and --record-tegrastats are for a Jetson, not for `{device}`",
            hint="add --device jetson",
        )
    if device == CUDA:
        with GpuWatch(Nvml(Cuda().bus_id())) as gpu:
            document = run(gpu)
            document["device"] = gpu.describe()
            return document
    return run(None)
