"""One call of an engine with its device memory allocated once: for timing, and for single runs.

Never run on hardware: no machine with a GPU was at hand. Tests cover the control flow with a fake.
"""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compactmtl.board.cudart import Cuda
from compactmtl.board.errors import AskedError, RunError
from compactmtl.board.tensors import Array


class EngineCall:
    """Copies inputs to the GPU, runs the engine, copies outputs back, waits.

    Its memory on the GPU goes back when it is closed, or when nothing refers to it any more.

    Args:
        context: Of the engine, with which nothing else runs.
        cuda: The CUDA runtime.
        arrays: Input name to what it is run on, contiguous and of the engine's type.
        outputs: Output name to its type.
        graph: Whether the engine is recorded into a CUDA graph once, which then is launched.

    Raises:
        AskedError: An input is outside the engine's profile.
        RunError: There is not enough memory on the GPU, or it cannot be recorded.
    """

    def __init__(
        self,
        context: Any,
        cuda: Cuda,
        arrays: Mapping[str, Array],
        outputs: Mapping[str, Any],
        *,
        graph: bool = False,
    ) -> None:
        self._context, self._cuda, self._graph = context, cuda, 0
        addresses: list[int] = []
        self.close = weakref.finalize(self, _free, cuda, addresses)
        self.close.atexit = False  # the driver takes all back, and may be gone by then
        try:
            self._sources = [
                (self._place(name, each, addresses), each) for name, each in arrays.items()
            ]
            for name, array in arrays.items():
                if not context.set_input_shape(name, array.shape):
                    raise AskedError(
                        f"input `{name}` of {list(array.shape)} is outside the engine's profile",
                        hint="build it again with --batch and --size that cover it",
                    )
            self.outputs = {
                name: np.empty(tuple(context.get_tensor_shape(name)), dtype=dtype)
                for name, dtype in outputs.items()
            }
            self._targets = [
                (self._place(name, each, addresses), each) for name, each in self.outputs.items()
            ]
            self._start, self._end = cuda.event(), cuda.event()
            if graph:
                self()  # TensorRT settles what it puts off to the first run
                self._graph = cuda.record(self._enqueue)
        except BaseException:
            self.close()
            raise

    def __call__(self) -> Mapping[str, Array]:
        """Run once; what it returns is written again by the next call.

        Raises:
            RunError: The GPU reports an error.
        """
        for address, array in self._sources:
            self._cuda.to_device(address, array)
        self._cuda.mark(self._start)
        if self._graph:
            self._cuda.launch(self._graph)
        else:
            self._enqueue()
        self._cuda.mark(self._end)
        for address, array in self._targets:
            self._cuda.to_host(array, address)
        self._cuda.wait()
        return self.outputs

    def device_ms(self) -> float:
        """Return how long the engine itself ran in the last call, by the GPU's clock."""
        return self._cuda.elapsed_ms(self._start, self._end)

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._cuda.stream):
            raise RunError("TensorRT could not start the engine")

    def _place(self, name: str, array: Array, addresses: list[int]) -> int:
        addresses.append(self._cuda.allocate(array.nbytes))
        self._context.set_tensor_address(name, addresses[-1])
        return addresses[-1]


def _free(cuda: Cuda, addresses: Sequence[int]) -> None:
    for address in addresses:
        cuda.free(address)
