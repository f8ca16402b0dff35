"""One ONNX session on a GPU: its inputs and outputs in device memory, its calls timed by events.

Never run on hardware: no machine with a GPU was at hand. Tests cover the control flow with a fake.
ONNX Runtime computes on a stream of ours, so that two CUDA events tell how long the GPU took. As a
CUDA graph it records its first call and from then on launches that, at the addresses of then.
Source: ONNX Runtime's documentation of I/O binding and of its CUDA and TensorRT providers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from compactmtl.board.cudart import Cuda
from compactmtl.board.tensors import Array

DEVICE = "cuda"
GRAPH_OPTIONS = {
    "CUDAExecutionProvider": {"enable_cuda_graph": "True"},
    "TensorrtExecutionProvider": {"trt_cuda_graph_enable": "True"},
}
"""What makes each provider record a CUDA graph; TensorRT's took no ``1`` at first."""
NO_WAIT = "disable_synchronize_execution_providers"
"""Leaves the waiting to us: the second event then follows the last kernel, not the wait for it."""


def with_options(providers: Sequence[str], cuda: Cuda, *, graph: bool) -> list[Any]:
    """Return providers with their options: our stream, and a CUDA graph of the first one.

    Args:
        providers: ONNX Runtime's names, the one that is asked for first.
        cuda: Whose stream they compute on.
        graph: Whether the first one records a CUDA graph.
    """
    found: list[Any] = []
    for name in providers:
        if name not in GRAPH_OPTIONS:
            found.append(name)
            continue
        recorded = GRAPH_OPTIONS[name] if graph and not found else {}
        found.append((name, {"user_compute_stream": str(cuda.stream), **recorded}))
    return found


class GpuCall:
    """Copies inputs to the GPU, runs the session, waits, copies the outputs back.

    Args:
        ort: ONNX Runtime.
        session: One that computes on the stream of ``cuda``.
        cuda: The CUDA runtime.
        events: Two of its events.
        arrays: Input name to an array; others of the same shapes may follow.
        outputs: Output name to an array of its shape and type, whose memory on the GPU then stays
            where it is; None: what ONNX Runtime chooses, at each call.
    """

    def __init__(
        self,
        ort: Any,
        session: Any,
        *,
        cuda: Cuda,
        events: tuple[int, int],
        arrays: Mapping[str, Array],
        outputs: Mapping[str, Array | None],
    ) -> None:
        self._session, self._cuda = session, cuda
        self.shapes = {name: array.shape for name, array in arrays.items()}
        self._binding = session.io_binding()
        self._inputs = {
            name: ort.OrtValue.ortvalue_from_numpy(array, DEVICE, 0)
            for name, array in arrays.items()
        }
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, like in outputs.items():
            if like is None:
                self._binding.bind_output(name, DEVICE, 0)
            else:
                value = ort.OrtValue.ortvalue_from_shape_and_type(
                    list(like.shape), like.dtype, DEVICE, 0
                )
                self._binding.bind_ortvalue_output(name, value)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry(NO_WAIT, "1")
        self._start, self._end = events

    def __call__(self, arrays: Mapping[str, Array]) -> list[Array]:
        """Run once on arrays of the shapes that it was made for; returns new arrays."""
        for name, value in self._inputs.items():
            value.update_inplace(arrays[name])
        self._cuda.mark(self._start)
        self._session.run_with_iobinding(self._binding, self._options)
        self._cuda.mark(self._end)
        self._cuda.wait()
        return [value.numpy() for value in self._binding.get_outputs()]

    def device_ms(self) -> float:
        """Return how long the GPU took for the last call, copies not included, by its own clock."""
        return self._cuda.elapsed_ms(self._start, self._end)
