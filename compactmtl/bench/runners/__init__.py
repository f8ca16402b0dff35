"""The runtimes that the bench can time, one per file."""

from collections.abc import Callable
from pathlib import Path

from compactmtl.bench.runners.base import Runner
from compactmtl.errors import UsageError


def _onnxruntime() -> Runner:
    from compactmtl.bench.runners.onnxruntime import OnnxRuntimeRunner

    return OnnxRuntimeRunner()


RUNNERS: dict[str, Callable[[], Runner]] = {".onnx": _onnxruntime}
"""File suffix to a function that imports and makes its runner."""


def runner_for(path: Path) -> Runner:
    """Return the runner of a file.

    Raises:
        UsageError: No runtime runs files of this suffix.
    """
    if path.suffix not in RUNNERS:
        raise UsageError(
            f"nothing runs `{path.name}`: suffix `{path.suffix}`, expected {', '.join(RUNNERS)}",
            hint="give files that `compactmtl export` wrote, or their folder",
        )
    return RUNNERS[path.suffix]()
