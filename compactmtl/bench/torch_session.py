"""Run compact models and exported programs in torch itself: eager, or through torch.compile."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.bench.torch_graph import recorded
from compactmtl.board.errors import AskedError, NotHereError, RunError
from compactmtl.board.tensors import Array, InputInfo


class TorchSession:
    """A ``.pt2`` file in torch; see ``compactmtl.board.sessions.Session``.

    On ``cuda`` it was never run on hardware; a call then includes the copies to the GPU and back,
    and CUDA events time what lies between.

    Args:
        path: A compact model, its dense twin, or a file of target ``pt2``.
        threads: Threads to compute on; torch has one number of them for the whole process.
        mode: ``eager`` or ``compile``. torch.compile compiles in the first call, for its sizes.
        device: ``cpu`` or ``cuda``.
        cuda_graph: On ``cuda``: record bound calls as CUDA graphs, and launch these.

    Raises:
        NotHereError: There is no GPU.
        MissingFileError: There is no such file.
        CorruptFileError: It is damaged.
        UnsafeFileError: It asks for code to be run.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        mode: str,
        device: str = "cpu",
        cuda_graph: bool = False,
    ) -> None:
        if "torch" not in sys.modules:
            # Else its threads wait by spinning, on the time of whatever is measured next.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import torch

        from compactmtl.pt2 import open_pt2, read_manifest

        if device == "cuda" and not torch.cuda.is_available():
            raise NotHereError("torch finds no GPU", hint="leave out --device cuda")
        started = time.perf_counter_ns()
        program = open_pt2(path)
        torch.set_num_threads(threads)
        module: Any = program.module().to(device)
        if mode == "compile":
            module = torch.compile(module, dynamic=False)
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        self._torch, self._module, self._path = torch, module, path
        self._names = _output_names(read_manifest(path))
        nodes = {node.name: node.meta["val"] for node in program.graph.find_nodes(op="placeholder")}
        self.inputs = tuple(
            _describe(name, nodes[node])
            for name, node in zip(
                _input_names(read_manifest(path)), program.graph_signature.user_inputs, strict=True
            )
        )
        way = [mode, *(["cuda"] if device == "cuda" else []), *(["CUDA graph"] * cuda_graph)]
        self.runtime = f"torch {torch.__version__} ({', '.join(way)})"
        self.device, self._graph = device, cuda_graph
        self.includes = "new tensors for the outputs"
        self.device_clock: Callable[[], float] | None = None
        if device == "cuda":
            self.includes = "copies of inputs to the GPU and of outputs back; never run on hardware"
            event: Any = torch.cuda.Event
            self._events = [event(enable_timing=True) for _ in range(2)]
            self.device_clock = lambda: float(self._events[0].elapsed_time(self._events[1]))

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see ``Session``.

        Raises:
            AskedError: An input is missing.
            RunError: torch refuses the inputs, or cannot compile.
        """
        outputs = self._guarded(self._call(inputs))
        named: Any = outputs
        if not isinstance(outputs, Mapping):
            several = (outputs,) if isinstance(outputs, self._torch.Tensor) else outputs
            named = dict(zip(self._names, several, strict=True))
        return {name: value.numpy().copy() for name, value in named.items()}

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], Any]:
        """Return a call for timing; see ``Session``.

        Raises:
            AskedError: An input is missing.
            RunError: It cannot be recorded as a CUDA graph.
        """
        if not self._graph:
            return partial(self._guarded, self._call(inputs))
        hint = "leave out --cuda-graph: it takes networks without control flow on values"
        make = partial(recorded, self._torch, self._module, self._tensors(inputs), self._events)
        return partial(self._guarded, self._guarded(make, "record", hint), hint=hint)

    def _call(self, inputs: Mapping[str, Array]) -> Callable[[], Any]:
        torch, module, tensors = self._torch, self._module, self._tensors(inputs)

        def on_cpu() -> Any:
            with torch.no_grad():
                return module(*tensors)

        def on_cuda() -> Any:
            with torch.no_grad():
                moved = [tensor.cuda(non_blocking=True) for tensor in tensors]
                self._events[0].record()
                outputs = module(*moved)
                self._events[1].record()
                return torch.utils._pytree.tree_map(lambda value: value.cpu(), outputs)

        return on_cuda if self.device == "cuda" else on_cpu

    def _tensors(self, inputs: Mapping[str, Array]) -> list[Any]:
        for info in self.inputs:
            if info.name not in inputs:
                raise AskedError(f"input `{info.name}` is missing; got {', '.join(inputs)}")
        return [self._torch.from_numpy(np.ascontiguousarray(inputs[i.name])) for i in self.inputs]

    def _guarded(self, call: Callable[[], Any], what: str = "run", hint: str = "") -> Any:
        try:
            return call()
        except Exception as error:  # whatever a backend of torch.compile raises, too
            reason = " ".join(str(error).split())[:300]
            raise RunError(f"torch cannot {what} `{self._path}`: {reason}", hint=hint) from error


def _input_names(document: Mapping[str, Any]) -> list[str]:
    """Return the names of the inputs, which both kinds of files keep in their manifest."""
    if "inputs" in document:
        return [str(name) for name in document["inputs"]]
    return [str(each["name"]) for each in document["manifest"]["inputs"]]


def _output_names(document: Mapping[str, Any]) -> list[str]:
    """Return the names of the outputs; a file of target ``pt2`` returns them with the values."""
    return [str(name) for name in document.get("manifest", {}).get("output_names", [])]


def _describe(name: str, value: Any) -> InputInfo:
    shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
    return InputInfo(name, shape, str(value.dtype).removeprefix("torch."))
