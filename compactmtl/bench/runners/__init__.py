"""The runtimes that the bench can time, one per file."""

from collections.abc import Callable
from pathlib import Path

from compactmtl.bench.runners.base import Runner
from compactmtl.environment import version
from compactmtl.errors import UsageError


def _onnxruntime() -> Runner:
    from compactmtl.bench.runners.onnxruntime import OnnxRuntimeRunner

    return OnnxRuntimeRunner()


def _openvino() -> Runner:
    from compactmtl.bench.runners.openvino import OpenVinoRunner

    return OpenVinoRunner()


RUNNERS: dict[str, Callable[[], Runner]] = {".onnx": _onnxruntime, ".xml": _openvino}
"""File suffix to a function that imports and makes its runner."""


EXTRAS = {".xml": "openvino"}
"""File suffix to the package that runs it, which is also the extra, where the base has none."""


def why_not_run(path: Path) -> str:
    """Say why a file cannot be measured here; empty where it can."""
    if path.suffix not in RUNNERS:
        return "no runtime here runs it"
    extra = EXTRAS.get(path.suffix)
    if extra is not None and version(extra) is None:
        return f'{extra} is not installed: pip install "compactmtl[{extra}]"'
    return ""


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
