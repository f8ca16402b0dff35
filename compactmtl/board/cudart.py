"""The few calls of the CUDA runtime that running an engine takes, through ctypes.

PyCUDA and cuda-python are not on a Jetson; ``libcudart`` is wherever TensorRT is, or in the wheels
that torch and ONNX Runtime bring on a workstation.
"""

import ctypes
import ctypes.util
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy.typing as npt

from compactmtl.board.errors import NotHereError, RunError

LIBRARIES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12")
TO_DEVICE, TO_HOST = 1, 2
"""``cudaMemcpyKind``."""
THIS_THREAD = 1
"""``cudaStreamCaptureModeThreadLocal``."""

Array = npt.NDArray[Any]


class Cuda:
    """A CUDA runtime with one stream; all copies and waits go through it.

    Raises:
        NotHereError: There is no CUDA runtime, or no GPU that it can use.
    """

    def __init__(self) -> None:
        self._library = _load()
        stream = ctypes.c_void_p()
        try:
            self._check("cudaStreamCreate", ctypes.byref(stream))
        except RunError as error:
            raise NotHereError(
                f"CUDA does not start on this machine: {error.message}", hint="try nvidia-smi"
            ) from error
        self.stream = stream.value or 0

    def allocate(self, size_bytes: int) -> int:
        """Return the address of new device memory.

        Raises:
            RunError: There is not enough.
        """
        address = ctypes.c_void_p()
        self._check("cudaMalloc", ctypes.byref(address), ctypes.c_size_t(max(size_bytes, 1)))
        return address.value or 0

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._check("cudaFree", ctypes.c_void_p(address))

    def to_device(self, address: int, array: Array) -> None:
        """Copy a contiguous array into device memory."""
        self._copy(address, array.ctypes.data, array.nbytes, TO_DEVICE)

    def to_host(self, array: Array, address: int) -> None:
        """Copy device memory into a contiguous array; ``wait`` before the array is read."""
        self._copy(array.ctypes.data, address, array.nbytes, TO_HOST)

    def wait(self) -> None:
        """Wait until all that was asked for is done."""
        self._check("cudaStreamSynchronize", ctypes.c_void_p(self.stream))

    def bus_id(self) -> str:
        """Return the PCI address of the GPU."""
        text = ctypes.create_string_buffer(32)
        self._check("cudaDeviceGetPCIBusId", text, ctypes.c_int(len(text)), ctypes.c_int(0))
        return text.value.decode()

    def event(self) -> int:
        """Return a new event; ``mark`` sets it."""
        event = ctypes.c_void_p()
        self._check("cudaEventCreate", ctypes.byref(event))
        return event.value or 0

    def mark(self, event: int) -> None:
        """Set an event when all that was asked for before is done."""
        self._check("cudaEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(self.stream))

    def elapsed_ms(self, start: int, end: int) -> float:
        """Return the time between two events, both of which are over."""
        found = ctypes.c_float()
        self._check(
            "cudaEventElapsedTime",
            ctypes.byref(found),
            ctypes.c_void_p(start),
            ctypes.c_void_p(end),
        )
        return found.value

    def record(self, work: Callable[[], None]) -> int:
        """Return a graph of what ``work`` asks of the stream, which does not run meanwhile.

        Raises:
            RunError: It asks for something that cannot be recorded.
        """
        stream, graph, ready = ctypes.c_void_p(self.stream), ctypes.c_void_p(), ctypes.c_void_p()
        self._check("cudaStreamBeginCapture", stream, ctypes.c_int(THIS_THREAD))
        try:
            work()
        finally:
            self._check("cudaStreamEndCapture", stream, ctypes.byref(graph))
        # The signature since CUDA 12; JetPack 6 and TensorRT 10 come with it.
        self._check("cudaGraphInstantiate", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
        return ready.value or 0

    def launch(self, graph: int) -> None:
        """Run a recorded graph."""
        self._check("cudaGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(self.stream))

    def _copy(self, target: int, source: int, size_bytes: int, kind: int) -> None:
        self._check(
            "cudaMemcpyAsync",
            ctypes.c_void_p(target),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size_bytes),
            ctypes.c_int(kind),
            ctypes.c_void_p(self.stream),
        )

    def _check(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            self._library.cudaGetErrorString.restype = ctypes.c_char_p
            text = self._library.cudaGetErrorString(ctypes.c_int(code))
            raise RunError(f"{function} failed: {text.decode() if text else ''} (code {code})")


def _load() -> ctypes.CDLL:
    for name in _candidates():
        with suppress(OSError):
            return ctypes.CDLL(name)
    raise NotHereError(
        f"no CUDA runtime: none of {', '.join(LIBRARIES)} loads",
        hint="engines run on a machine with an NVIDIA GPU and CUDA",
    )


def _candidates() -> Iterator[str]:
    yield from LIBRARIES
    if found := ctypes.util.find_library("cudart"):
        yield found
    for folder in sys.path:
        yield from map(str, sorted(Path(folder, "nvidia").glob("*/lib/libcudart.so.*")))
