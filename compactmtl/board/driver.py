"""Whether an NVIDIA GPU answers, asked of the driver itself."""

import ctypes


def num_gpus() -> int:
    """Return how many GPUs the driver knows; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
