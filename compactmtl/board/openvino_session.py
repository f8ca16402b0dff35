"""Run OpenVINO's models on the CPU, computing in fp32."""

import functools
import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.board.errors import AbsentError, DamagedError, MissingPackageError, RunError
from compactmtl.board.tensors import Array, InputInfo

SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""Without the first, OpenVINO computes in bfloat16 wherever the processor can."""
CHATTER = ("Exception from", "Check '", "FrontEnd API failed", "Model wasn't", "Summary:")
"""How lines of OpenVINO's errors begin that name its own source and not what is wrong."""


def import_openvino() -> Any:
    """Import OpenVINO.

    Raises:
        MissingPackageError: It is not installed.
    """
    if importlib.util.find_spec("openvino") is None:
        raise MissingPackageError(
            "OpenVINO is not installed", hint='pip install "compactmtl[openvino]"'
        )
    return importlib.import_module("openvino")


@functools.cache
def core() -> Any:
    """Return the one ``openvino.Core`` of this process.

    Each Core that compiles for the CPU gives the thread a stack for signal handlers and frees it
    when it goes; after a second one the next signal, Ctrl-C for one, ends in a segmentation fault
    (seen with 2026.4.1).

    Raises:
        MissingPackageError: OpenVINO is not installed.
    """
    return import_openvino().Core()


def runtime() -> str:
    """Return name, version and precision, as records state them."""
    return f"openvino {import_openvino().__version__.partition('-')[0]} (CPU, f32)"


def output_names(model: Any) -> list[str]:
    """Return the names of a model's outputs, in order.

    A value can have several names; that of its result node is the output's.
    """
    return [output.node.friendly_name.removesuffix("/sink_port_0") for output in model.outputs]


class OpenVinoSession:
    """A compiled model; see ``compactmtl.board.sessions.Session``.

    Args:
        model: The ``.xml`` file of an IR, its ``.bin`` beside it; or an ``openvino.Model``.
        threads: Threads to compute on.
        name: How errors call the model; None: the path.

    Raises:
        MissingPackageError: OpenVINO is not installed.
        AbsentError: A file is not there.
        DamagedError: OpenVINO cannot load the model.
    """

    def __init__(self, model: Any, *, threads: int, name: str | None = None) -> None:
        self.name = str(model) if name is None else name
        if isinstance(model, Path):
            _check_files(model)
        settings = SETTINGS | {"INFERENCE_NUM_THREADS": threads}
        engine = core()
        started = time.perf_counter_ns()
        try:
            self._model = engine.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise DamagedError(f"OpenVINO cannot load `{self.name}`: {reason(error)}") from error
        self._request = self._model.create_infer_request()
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        self.inputs = tuple(_describe(value) for value in self._model.inputs)
        self.output_names = output_names(self._model)
        self.runtime = runtime()
        self.device = "cpu"
        self.device_clock: Callable[[], float] | None = None
        self.includes = "no copies"

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see ``Session``.

        Raises:
            RunError: OpenVINO refuses the inputs.
        """
        values = self._run(dict(inputs))
        return {name: np.array(values[place]) for place, name in enumerate(self.output_names)}

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """Return a call for timing, which copies nothing; see ``Session``."""
        fixed = dict(inputs)
        return lambda: self._run(fixed)

    def _run(self, inputs: dict[str, Array]) -> Any:
        try:
            return self._request.infer(inputs, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise RunError(f"OpenVINO cannot run `{self.name}`: {reason(error)}") from error


def _check_files(xml: Path) -> None:
    try:
        with xml.open("rb") as handle:
            head = handle.read(5)
    except FileNotFoundError as error:
        raise AbsentError(f"no such file: `{xml}`", hint="check the path") from error
    except OSError as error:
        raise AbsentError(f"cannot read `{xml}`: {error.strerror or error}") from error
    if head != b"<?xml":  # OpenVINO would try every format it knows, aloud
        raise DamagedError(f"`{xml}` is no IR of OpenVINO: it does not begin with <?xml")
    if not xml.with_suffix(".bin").is_file():
        raise AbsentError(
            f"no such file: `{xml.with_suffix('.bin')}`", hint="it holds the weights of the IR"
        )


def _describe(value: Any) -> InputInfo:
    shape = tuple(
        "?" if size.is_dynamic else int(size.get_length()) for size in value.get_partial_shape()
    )
    return InputInfo(value.any_name, shape, np.dtype(value.get_element_type().to_dtype()).name)


def reason(error: RuntimeError) -> str:
    """Return the line of an error of OpenVINO that says what is wrong."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(CHATTER)]
    return telling[-1] if telling else " ".join(str(error).split())
