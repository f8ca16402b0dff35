"""Load an artefact in the runtime it was written for, and call it with arrays.

Engines, and ONNX files with another provider than ``cpu``, run on a GPU: never run on hardware.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from compactmtl.board.engine import EngineSession
from compactmtl.board.errors import AskedError
from compactmtl.board.executorch_session import ExecuTorchSession
from compactmtl.board.litert_session import LiteRtSession
from compactmtl.board.onnx_session import OnnxSession
from compactmtl.board.openvino_session import OpenVinoSession
from compactmtl.board.panoptic.session import SUFFIX as PANOPTIC
from compactmtl.board.panoptic.session import PanopticSession
from compactmtl.board.tensors import Array, InputInfo

SUFFIXES = (".onnx", ".xml", ".engine", ".tflite", ".pte", PANOPTIC)


class Session(Protocol):
    """A loaded artefact, ready to run."""

    @property
    def inputs(self) -> tuple[InputInfo, ...]:
        """What it takes."""

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""

    @property
    def device(self) -> str:
        """Where it computes: ``cpu`` or ``cuda``."""

    @property
    def includes(self) -> str:
        """What a bound call does beside computing, one phrase."""

    @property
    def device_clock(self) -> Callable[[], float] | None:
        """Tells how many ms the last bound call computed on an accelerator; None without one."""

    @property
    def load_ms(self) -> float:
        """Wall time from the file to the ready artefact."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once, synchronously; returns the outputs by name, for the caller to keep."""

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """Return a call that runs once on these inputs, for timing.

        It is over when the outputs lie in the machine's memory; the next call may overwrite them.
        Where another process runs it, it is an ``OwnTimes``.
        """


def parts(path: Path) -> tuple[Path, ...]:
    """Return the further files that belong to an artefact."""
    return (path.with_suffix(".bin"),) if path.suffix == ".xml" else ()


def open_session(
    path: Path, *, threads: int = 1, provider: str = "cpu", cuda_graph: bool = False
) -> Session:
    """Load an artefact.

    Args:
        path: A file with one of ``SUFFIXES``.
        threads: Threads of a runtime on the CPU; ExecuTorch takes as many as it likes.
        provider: Of an ONNX file: ONNX Runtime's execution provider.
        cuda_graph: On a GPU: launch a recorded CUDA graph where calls are timed.

    Raises:
        AskedError: Nothing here runs files of this suffix.
        AbsentError: There is no such file.
        MissingPackageError: The runtime is not installed.
        NotHereError: There is no GPU to run it on, none that it is for, or no such provider.
        DamagedError: The runtime cannot read the file.
        UnsafeError: The file reaches outside its folder.
    """
    if path.suffix == ".onnx":
        return OnnxSession(path, threads=threads, provider=provider, cuda_graph=cuda_graph)
    if path.suffix == ".xml":
        return OpenVinoSession(path, threads=threads)
    if path.suffix == ".engine":
        return EngineSession(path, cuda_graph=cuda_graph)
    if path.suffix == ".tflite":
        return LiteRtSession(path, threads=threads)
    if path.suffix == ".pte":
        return ExecuTorchSession(path)
    if path.suffix == PANOPTIC:
        return PanopticSession(path, threads=threads)
    raise AskedError(
        f"nothing runs `{path.name}`: suffix `{path.suffix}`, expected {', '.join(SUFFIXES)}",
        hint="it is a program of torch, which alone runs it, and was checked when it was exported"
        if path.name.endswith(".exported.pt2")
        else "give files that `compactmtl export` wrote, or their folder",
    )
