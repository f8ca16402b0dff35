"""What an artefact costs, counted in the file itself, whatever its runtime."""

from pathlib import Path

from compactmtl.bench.complexity import Complexity
from compactmtl.bench.elsewhere import SERVED, why_not_served
from compactmtl.board.driver import num_gpus
from compactmtl.board.engine_gpu import why_not_fit
from compactmtl.board.gpus import find_gpus
from compactmtl.board.panoptic.session import SUFFIX as PANOPTIC
from compactmtl.environment import version
from compactmtl.errors import UsageError
from compactmtl.export.board_errors import translated
from compactmtl.export.stored import Arrays

RUNTIMES = {".onnx": "onnxruntime", ".xml": "openvino"}
"""Suffix of the files that can be measured to the package that runs them."""
PROGRAM, ENGINE = ".pt2", ".engine"
EXTRAS = ("openvino",)
"""Packages that are extras of the same name."""


def why_not_run(path: Path) -> str:
    """Say why a file cannot be measured here; empty where it can."""
    if path.suffix == PROGRAM:
        return "torch runs it: give --torch eager, or compile"
    if path.suffix in SERVED:
        return why_not_served(path)
    if path.suffix == ENGINE:
        with translated():
            why = why_not_fit(path, find_gpus())
        return why or ("" if num_gpus() else "an engine, and no NVIDIA GPU answers here")
    if path.suffix == PANOPTIC:
        return ""
    if path.suffix not in RUNTIMES:
        return "no runtime here runs it"
    package = RUNTIMES[path.suffix]
    if package in EXTRAS and version(package) is None:
        return f'{package} is not installed: pip install "compactmtl[{package}]"'
    return ""


def count(path: Path, inputs: Arrays) -> Complexity:
    """Count MACs, parameters and memory of an artefact at the shapes of these inputs.

    Raises:
        UsageError: There is no counter for files of this suffix.
        BenchError: It does not run on these inputs.
    """
    if path.suffix == ".onnx":
        from compactmtl.bench.onnx_graph import count_onnx

        return count_onnx(path, inputs)
    if path.suffix == ".xml":
        from compactmtl.bench.openvino_graph import count_openvino

        return count_openvino(path, inputs)
    raise UsageError(f"nothing counts `{path.name}`: suffix `{path.suffix}`")
