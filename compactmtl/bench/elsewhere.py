"""Artefacts whose runtime may lie in an environment of its own."""

from importlib.util import find_spec
from pathlib import Path

from compactmtl.board.sessions import Session, open_session
from compactmtl.export.worker_target import WorkerExporter

SERVED = {".tflite": "ai_edge_litert", ".pte": "executorch"}
"""Suffix to the module that runs such files."""


def exporter_of(path: Path) -> WorkerExporter:
    """Return the target whose environment, once it is installed, runs files of this kind."""
    from compactmtl.export.executorch import ExecuTorchExporter
    from compactmtl.export.litert import LiteRtExporter

    return LiteRtExporter() if path.suffix == LiteRtExporter.suffix else ExecuTorchExporter()


def why_not_served(path: Path) -> str:
    """Say why such a file cannot be run; empty where it can, in this Python or in its own."""
    environment = exporter_of(path).environment
    if find_spec(SERVED[path.suffix]) is not None or environment.is_complete:
        return ""
    return f"its runtime is not installed: {environment.describe()}"


def open_served(path: Path, *, threads: int) -> Session:
    """Load such a file: in this Python where that has the runtime, else in the one that has.

    Raises:
        MissingExtraError: Neither has.
        CompactMTLError: It cannot be loaded.
    """
    if find_spec(SERVED[path.suffix]) is not None:
        return open_session(path, threads=threads)
    return exporter_of(path).open(path, threads=threads)
