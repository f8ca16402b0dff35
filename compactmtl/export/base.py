"""What every export target does."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from torch.export import ExportedProgram

from compactmtl.export.sidecar import Parent, Sidecar
from compactmtl.export.stored import Array, Arrays, Stored

Which = Literal["compact", "dense"]


class Interface(Protocol):
    """What an exporter needs to know of a model; ``compactmtl.compact.Manifest`` has it."""

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in call order."""

    @property
    def output_names(self) -> list[str]:
        """Names of the flattened outputs, in order: the tasks."""

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """Task name to what rebuilds the task; an output need not be a task."""


class Runnable(Protocol):
    """A loaded artefact."""

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """Run once; returns the outputs by name."""


class Exporter(ABC):
    """One target. ``export`` writes nothing unless the artefact computes what the program does."""

    target: ClassVar[str]
    """The word after ``--target``."""
    suffix: ClassVar[str]
    """Suffix of the artefact."""

    @abstractmethod
    def export(
        self,
        program: ExportedProgram,
        interface: Interface,
        path: Path,
        *,
        stored: Stored,
        parent: Parent,
        which: Which,
        opset: int | None = None,
    ) -> Sidecar:
        """Write the artefact and its sidecar, after having run and compared it.

        Args:
            program: The model; its dynamic dimensions become the artefact's.
            interface: Names of inputs and outputs, in order, and the tasks.
            path: Where the artefact goes; replaced atomically.
            stored: Inputs to check it with.
            parent: The file it descends from.
            which: The compact model, or its dense twin.
            opset: Operator set version, for targets that have one; None: the exporter's own.

        Raises:
            ExportError: The target cannot take the program, or computes something else; nothing
                was written.
        """

    @abstractmethod
    def load(self, path: Path) -> Runnable:
        """Load an artefact in its own runtime.

        Raises:
            MissingFileError: There is no such file.
            CorruptFileError: The runtime cannot read it.
        """
