"""Target ``onnx``: one ONNX file, checked in ONNX Runtime on the CPU."""

from pathlib import Path
from typing import ClassVar

from compactmtl.environment import version
from compactmtl.export.base import Availability, Evidence, Exporter, Job, Runnable
from compactmtl.export.options import ONNX_OPTIONS, PRECISIONS, Dialect, Precision
from compactmtl.export.sidecar import Sidecar


class OnnxExporter(Exporter):
    """Write ONNX from the exported program.

    Supports:
        Everything ``torch.onnx`` translates; max-unpooling at any image size, for TensorRT, too.
    Refuses:
        Programs over 2 GB; what ``torch.onnx`` cannot translate; for TensorRT, what
        ``check_dialect`` finds.
    Fidelity:
        The rule of ``parity.py``, on stored inputs, another batch size and another image size;
        what is then lowered in precision is run there, too, and its deviation reported per task.
    """

    target: ClassVar[str] = "onnx"
    suffix: ClassVar[str] = ".onnx"
    precisions: ClassVar[tuple[Precision, ...]] = PRECISIONS
    takes: ClassVar[frozenset[str]] = ONNX_OPTIONS
    evidence: ClassVar[Evidence] = "run on hardware"

    def __init__(self, operators: Dialect = "onnx") -> None:
        self.operators: Dialect = operators

    def availability(self) -> Availability:
        """Tell which ONNX Runtime is here; see ``Exporter.availability``."""
        return Availability(version=version("onnxruntime"), runs_here=True)

    def export(self, job: Job) -> Sidecar:
        """Write the file and its sidecar; see ``Exporter.export``."""
        from compactmtl.export.onnx_write import write_onnx

        return write_onnx(job, self.operators, self.target)

    def load(self, path: Path) -> Runnable:
        """Load an ONNX file in ONNX Runtime; see ``Exporter.load``."""
        from compactmtl.export.onnx_run import Session
        from compactmtl.export.safe_onnx import open_onnx

        return Session(open_onnx(path).SerializeToString(), str(path))
