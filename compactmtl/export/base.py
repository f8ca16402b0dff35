"""What every export target does."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from compactmtl.export.interface import Interface
from compactmtl.export.options import Dialect, Options, Precision
from compactmtl.export.sidecar import Parent, Sidecar

if TYPE_CHECKING:  # saying what the targets are must not wait for torch
    from torch.export import ExportedProgram

    from compactmtl.export.check import Check
    from compactmtl.export.labelled import Labelled, Unlabelled
    from compactmtl.export.stored import Array, Arrays, Stored

Which = Literal["compact", "dense"]
Progress = Callable[[int, int], None]
Evidence = Literal["run on hardware", "built only", "never run"]
"""What we have seen of a target: its artefacts computing, being built, or neither."""


class Runnable(Protocol):
    """A loaded artefact."""

    def __call__(self, inputs: "Arrays") -> "dict[str, Array]":
        """Run once; returns the outputs by name."""


@dataclass(frozen=True, kw_only=True)
class Availability:
    """What a target can do on this machine.

    Attributes:
        version: Of the package that writes the artefact; None where it is not installed.
        runs_here: Whether artefacts can be run, and so checked, on this machine.
        why_not: Why something of the two is not so, and what to do; empty where all is well.
    """

    version: str | None
    runs_here: bool
    why_not: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One export.

    Attributes:
        program: The model; its dynamic dimensions become the artefact's.
        interface: Names of inputs and outputs, in order, and the tasks.
        path: Where the artefact goes; replaced atomically.
        check: What the artefact is compared with.
        stored: The samples of the check.
        parent: The file it descends from.
        which: The compact model, or its dense twin.
        options: What the user asked for.
        source: The checked ONNX file to build from, for targets that have a ``dialect``.
        calibration: Real samples, where the precision needs them.
        labelled: Images to score a lower precision on.
        progress: Called while a search runs, with the steps done and how many there are at most.
    """

    program: "ExportedProgram"
    interface: Interface
    path: Path
    check: "Check"
    stored: "Stored"
    parent: Parent
    which: Which
    options: Options
    source: Path | None = None
    calibration: "Stored | None" = None
    labelled: "Labelled | Unlabelled | None" = None
    progress: Progress | None = None


def make_job(
    program: "ExportedProgram",
    interface: Interface,
    path: Path,
    *,
    stored: "Stored",
    parent: Parent,
    which: Which,
    options: Options | None = None,
    calibration: "Stored | None" = None,
    labelled: "Labelled | Unlabelled | None" = None,
    progress: Progress | None = None,
) -> Job:
    """Prepare an export: run the program in torch on what the artefact will be checked on.

    Raises:
        ExportError: The stored inputs are not what the program takes.
    """
    from compactmtl.export.check import make_check

    return Job(
        program=program,
        interface=interface,
        path=path,
        check=make_check(program, interface, stored),
        stored=stored,
        parent=parent,
        which=which,
        options=options or Options(),
        calibration=calibration,
        labelled=labelled,
        progress=progress,
    )


class Exporter(ABC):
    """One target. ``export`` writes nothing unless the artefact computes what the program does."""

    target: ClassVar[str]
    """The word after ``--target``."""
    suffix: ClassVar[str]
    """Suffix of the artefact."""
    extra: ClassVar[str | None] = None
    """The extra that installs what it needs; None: it belongs to the base installation."""
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32",)
    """Number formats it can write."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Which fields of ``Options`` it honours; the others are refused."""
    dialect: ClassVar[Dialect | None] = None
    """Of the ONNX file that it is built from; None for targets made from the program itself."""
    evidence: ClassVar[Evidence]

    def file_name(self, which: Which, precision: Precision) -> str:
        """Return what an artefact is called: ``model.onnx``, ``dense.fp16.onnx``."""
        stem = "model" if which == "compact" else "dense"
        return f"{stem}{'' if precision == 'fp32' else f'.{precision}'}{self.suffix}"

    @abstractmethod
    def availability(self) -> Availability:
        """Tell what can be done here, without importing more than it takes to know."""

    def check_reachable(self, options: Options) -> None:  # noqa: B027 - most need no other machine
        """Ask another machine that the options name whether it answers, before any work is done.

        Raises:
            MissingExtraError: There is no ssh on this machine.
            NotPossibleHereError: It does not answer.
        """

    @abstractmethod
    def export(self, job: Job) -> Sidecar:
        """Write the artefact and its sidecar, after having run and compared it where it can run.

        Raises:
            MissingExtraError: What the target needs is not installed.
            ExportError: The target cannot take the program, or computes something else; nothing
                was written.
        """

    @abstractmethod
    def load(self, path: Path) -> Runnable:
        """Load an artefact in its own runtime.

        Raises:
            MissingFileError: There is no such file.
            CorruptFileError: The runtime cannot read it.
            NotPossibleHereError: Its runtime cannot run on this machine.
        """
