"""Which GPUs this machine has, without starting CUDA."""

from compactmtl.board.jetson.watch import look
from compactmtl.board.nvml import Gpu, list_gpus


def find_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that NVML lists, or a Jetson's own; nothing where neither tells."""
    listed = list_gpus()
    if listed:
        return listed
    board = look()
    if board.chip is None:
        return ()
    name = board.module or board.model or board.chip.family
    return (Gpu(name, board.chip.compute_capability),)
