"""What every runtime that the bench can time offers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from compactmtl.export.stored import Array, Arrays


@dataclass(frozen=True)
class InputInfo:
    """One input of a loaded artefact; ``shape`` holds text for dynamic dimensions."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class Loaded:
    """An artefact, loaded and ready.

    Attributes:
        inputs: What it takes.
        run: Runs it once, synchronously: when it returns, the outputs are there.
        load_ms: Wall time from the file to the ready artefact.
        runtime: Name and version of the runtime.
    """

    inputs: tuple[InputInfo, ...]
    run: Callable[[Arrays], dict[str, Array]]
    load_ms: float
    runtime: str


@dataclass(frozen=True)
class Cost:
    """What an artefact costs at given inputs.

    Attributes:
        macs: Multiply-accumulates; FLOPs are twice as many.
        num_params: Elements of all floating-point constants.
        uncounted: Operations present that hold MACs which are not in ``macs``.
    """

    macs: int
    num_params: int
    uncounted: tuple[str, ...]


class Runner(ABC):
    """One runtime."""

    suffixes: ClassVar[tuple[str, ...]]
    """Suffixes of the files it runs."""

    def parts(self, path: Path) -> tuple[Path, ...]:
        """Return the further files that belong to an artefact."""
        return ()

    @abstractmethod
    def cost(self, path: Path, inputs: Arrays) -> Cost:
        """Count MACs and parameters of the file itself.

        Raises:
            BenchError: It does not run on these inputs.
        """

    @abstractmethod
    def load(self, path: Path, *, threads: int) -> Loaded:
        """Load an artefact.

        Raises:
            MissingFileError: There is no such file.
            CorruptFileError: The runtime cannot read it.
        """
