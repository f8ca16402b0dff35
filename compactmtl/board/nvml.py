"""What a GPU is, its power, clocks, temperature and memory from its driver, through ctypes.

Never run on hardware: no machine with a GPU was at hand. Tests cover the control flow with a fake.
Source: NVML API Reference Guide. What a GPU does not report is None, never zero.
"""

import ctypes
from dataclasses import dataclass
from typing import Any

from compactmtl.board.errors import NotHereError

LIBRARY = "libnvidia-ml.so.1"
GRAPHICS, MEMORY = 0, 2
"""``nvmlClockType_t``."""
NAME_BYTES = 96
"""``NVML_DEVICE_NAME_V2_BUFFER_SIZE``."""
CORE = 0
"""``nvmlTemperatureSensors_t``."""
SLOWED = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Bits of ``nvmlClocksThrottleReason`` that mean the GPU runs slower than it could."""


@dataclass(frozen=True)
class GpuReading:
    """What a GPU reported at once; None: it does not tell.

    Attributes:
        power_w: Of the whole board.
        graphics_mhz: Clock of the multiprocessors.
        memory_mhz: Clock of the memory.
        celsius: Temperature of the chip.
        used_mib: Memory in use, by all processes.
        slowed: Why it runs slower than it could; empty: it does not.
    """

    power_w: float | None
    graphics_mhz: int | None
    memory_mhz: int | None
    celsius: int | None
    used_mib: float | None
    slowed: tuple[str, ...] | None


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, and its compute capability as in ``8.9``."""

    name: str
    compute_capability: str


def list_gpus(library: Any = None) -> tuple[Gpu, ...]:
    """Return the GPUs that the driver knows, in its order; nothing where it does not tell.

    Args:
        library: NVML; another one in tests.
    """
    try:
        nvml = _load() if library is None else library
    except NotHereError:
        return ()
    if nvml.nvmlInit_v2():
        return ()
    try:
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return ()
        found = [_identify(nvml, index) for index in range(count.value)]
    finally:
        nvml.nvmlShutdown()
    # Where one of them is unknown, the list would claim that there are only the others.
    return tuple(gpu for gpu in found if gpu is not None) if None not in found else ()


def _identify(nvml: Any, index: int) -> Gpu | None:
    gpu, name = ctypes.c_void_p(), ctypes.create_string_buffer(NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    failed = (
        nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(gpu))
        or nvml.nvmlDeviceGetName(gpu, name, ctypes.c_uint(NAME_BYTES))
        or nvml.nvmlDeviceGetCudaComputeCapability(gpu, ctypes.byref(major), ctypes.byref(minor))
    )
    if failed:
        return None
    return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}")


class Nvml:
    """The driver's view of one GPU.

    Args:
        bus_id: Its PCI address, as CUDA tells it: the two count GPUs in different orders.
        library: NVML; another one in tests.

    Raises:
        NotHereError: There is no NVML, or it does not know the GPU.
    """

    def __init__(self, bus_id: str, library: Any = None) -> None:
        self._library = _load() if library is None else library
        if self._library.nvmlInit_v2():
            raise NotHereError("NVIDIA's management library does not start", hint="try nvidia-smi")
        self._gpu = ctypes.c_void_p()
        found = self._library.nvmlDeviceGetHandleByPciBusId_v2(
            bus_id.encode(), ctypes.byref(self._gpu)
        )
        if found:
            raise NotHereError(f"NVIDIA's management library knows no GPU at {bus_id}")

    def close(self) -> None:
        """Let the library go."""
        self._library.nvmlShutdown()

    def read(self) -> GpuReading:
        """Return what the GPU reports now."""
        power = self._number("nvmlDeviceGetPowerUsage", ctypes.c_uint)
        reasons = self._number("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong)
        memory = (ctypes.c_ulonglong * 3)()  # total, free, used
        failed = self._library.nvmlDeviceGetMemoryInfo(self._gpu, ctypes.byref(memory))
        return GpuReading(
            power_w=None if power is None else power / 1e3,
            graphics_mhz=self._number("nvmlDeviceGetClockInfo", ctypes.c_uint, GRAPHICS),
            memory_mhz=self._number("nvmlDeviceGetClockInfo", ctypes.c_uint, MEMORY),
            celsius=self._number("nvmlDeviceGetTemperature", ctypes.c_uint, CORE),
            used_mib=None if failed else memory[2] / 2**20,
            slowed=None
            if reasons is None
            else tuple(why for bit, why in SLOWED.items() if reasons & bit),
        )

    def _number(self, function: str, kind: Any, *which: int) -> int | None:
        found = kind()
        failed = getattr(self._library, function)(self._gpu, *which, ctypes.byref(found))
        return None if failed else int(found.value)


def _load() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NotHereError(
            f"no {LIBRARY}: it comes with NVIDIA's driver, but not on a Jetson"
        ) from error
