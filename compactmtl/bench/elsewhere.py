"""Artefacts whose runtime may lie in an environment of its own."""

from importlib.util import find_spec
from pathlib import Path

from compactmtl.board.sessions import Session, open_session
from compactmtl.export.environments import Environment

SERVED = {".tflite": "ai_edge_litert", ".pte": "executorch"}
"""Suffix to the module that runs such files."""


def environment_of(path: Path) -> Environment:
    """Return the environment that `compactmtl export --install` makes for files of this kind."""
    from compactmtl.export.executorch import ExecuTorchExporter
    from compactmtl.export.litert import LiteRtExporter

    exporter = LiteRtExporter if path.suffix == LiteRtExporter.suffix else ExecuTorchExporter
    return exporter.environment


def why_not_served(path: Path) -> str:
    """Say why such a file cannot be run; empty where it can, in this Python or in its own."""
    if find_spec(SERVED[path.suffix]) is not None or environment_of(path).is_complete:
        return ""
    return f"its runtime is not installed: {environment_of(path).describe()}"


def open_served(path: Path, *, threads: int) -> Session:
    """Load such a file: in this Python where that has the runtime, else in the one that has.

    Raises:
        MissingExtraError: Neither has.
        BoardError: It cannot be loaded.
    """
    if find_spec(SERVED[path.suffix]) is not None:
        return open_session(path, threads=threads)
    from compactmtl.bench.served import ServedSession

    environment = environment_of(path)
    environment.require()
    return ServedSession(path, python=environment.python, threads=threads)
