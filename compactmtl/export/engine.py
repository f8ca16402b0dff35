"""What the two targets of TensorRT have in common: ``compactmtl.board`` builds for both."""

from dataclasses import fields
from pathlib import Path
from typing import ClassVar

from compactmtl.board.artefact import write_engine
from compactmtl.board.bindings import HINTS, installed_version, load_bindings
from compactmtl.board.driver import num_gpus
from compactmtl.board.errors import MissingPackageError
from compactmtl.board.header import check_header
from compactmtl.board.recipe import BuildRecipe
from compactmtl.export.base import Availability, Evidence, Exporter, Job, Runnable
from compactmtl.export.board_errors import translated
from compactmtl.export.options import PRECISIONS, Dialect, Options, Precision
from compactmtl.export.session import TranslatedSession
from compactmtl.export.sidecar import Sidecar


class EngineExporter(Exporter):
    """Build an engine from the checked ONNX file.

    Supports:
        What TensorRT's own parser takes, in the precision that the ONNX file holds.
    Refuses:
        What the parser refuses, every node by name and with what to do about it.
    Fidelity:
        That of the ONNX file, which was run. Engines themselves are built and not run;
        ``compactmtl verify`` runs them where there is a GPU.
    """

    flavour: ClassVar[str]
    """Which TensorRT; see ``compactmtl.board.bindings``."""
    dialect: ClassVar[Dialect | None] = "tensorrt"
    precisions: ClassVar[tuple[Precision, ...]] = PRECISIONS
    evidence: ClassVar[Evidence]

    def availability(self) -> Availability:
        """Tell which TensorRT is here; see ``Exporter.availability``."""
        try:
            version = installed_version(self.flavour)
        except MissingPackageError as error:  # there, and does not load
            return Availability(version=None, runs_here=False, why_not=error.message)
        if version is None:
            return Availability(version=None, runs_here=False, why_not=HINTS[self.flavour])
        can_run = num_gpus() > 0
        why_not = "" if can_run else "no NVIDIA GPU answers"
        return Availability(version=version, runs_here=can_run, why_not=why_not)

    def export(self, job: Job) -> Sidecar:
        """Build the engine and write it with its sidecar; see ``Exporter.export``."""
        assert job.source is not None, "targets with a dialect are given their ONNX file"
        with translated():
            document = write_engine(
                load_bindings(self.flavour), job.source, job.path, recipe_of(job.options)
            )
        return Sidecar.model_validate(document)

    def load(self, path: Path) -> Runnable:
        """Load an engine on the first GPU; see ``Exporter.load``."""
        from compactmtl.board.engine import EngineSession

        with translated():
            check_header(path, self.flavour, installed_version(self.flavour))
            return TranslatedSession(EngineSession(path))


def recipe_of(options: Options) -> BuildRecipe:
    """Return the part of the options that the builder is given."""
    shared = {each.name for each in fields(Options)}
    return BuildRecipe(
        **{e.name: getattr(options, e.name) for e in fields(BuildRecipe) if e.name in shared}
    )
