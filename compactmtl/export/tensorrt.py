"""Target ``tensorrt``: an engine where TensorRT is installed, else all that a board needs."""

from typing import ClassVar

from compactmtl.board.bindings import installed_version
from compactmtl.board.prepared import write_prepared
from compactmtl.board.recipe import TAKEN
from compactmtl.export.base import Evidence, Job
from compactmtl.export.board_errors import translated
from compactmtl.export.engine import EngineExporter, recipe_of
from compactmtl.export.on_host import build_on_host
from compactmtl.export.options import ONNX_OPTIONS, Options
from compactmtl.export.sidecar import Sidecar
from compactmtl.remote.ssh import Host


class TensorRtExporter(EngineExporter):
    """Build an engine with TensorRT 10 or 11: here, on a host, or prepare it for a board.

    Without TensorRT and without a host, ``tensorrt.json`` says what is to be built.

    The engine is for the GPU that it is built on. What is prepared is the checked ONNX file and
    the settings; nothing of another runtime is passed off as TensorRT's.
    """

    flavour: ClassVar[str] = "tensorrt"
    target: ClassVar[str] = "tensorrt"
    suffix: ClassVar[str] = ".engine"
    extra: ClassVar[str | None] = "tensorrt"
    takes: ClassVar[frozenset[str]] = ONNX_OPTIONS | {"host"} | TAKEN["tensorrt"] - {"weak_typing"}
    evidence: ClassVar[Evidence] = "never run"

    def check_reachable(self, options: Options) -> None:
        """Ask the host; see ``Exporter.check_reachable``."""
        if options.host is not None:
            Host(options.host).run(["true"])

    def export(self, job: Job) -> Sidecar:
        """Build, or prepare; the sidecar's status says which. See ``Exporter.export``."""
        if job.options.host is not None:
            assert job.source is not None, "targets with a dialect are given their ONNX file"
            return build_on_host(
                Host(job.options.host), job.source, job.path, recipe_of(job.options)
            )
        if installed_version(self.flavour) is not None:
            return super().export(job)
        assert job.source is not None, "targets with a dialect are given their ONNX file"
        with translated():
            document = write_prepared(job.source, job.path, recipe_of(job.options))
        return Sidecar.model_validate(document)
