"""Power, clocks, temperature and memory of a GPU from its driver, through ctypes.

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
