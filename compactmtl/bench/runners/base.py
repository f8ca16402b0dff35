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


class Runner(ABC):
    """One runtime."""

    suffixes: ClassVar[tuple[str, ...]]
    """Suffixes of the files it runs."""

    @abstractmethod
    def load(self, path: Path, *, threads: int) -> Loaded:
        """Load an artefact.

        Raises:
            MissingFileError: There is no such file.
            CorruptFileError: The runtime cannot read it.
        """
