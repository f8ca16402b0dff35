"""Target ``tensorrt-rtx``: an engine for NVIDIA's desktop GPUs, built without one."""

from typing import ClassVar

from compactmtl.board.recipe import TAKEN
from compactmtl.export.base import Evidence
from compactmtl.export.engine import EngineExporter
from compactmtl.export.options import ONNX_OPTIONS


class TensorRtRtxExporter(EngineExporter):
    """Build an engine with TensorRT-RTX, for Ampere and later or for the GPUs that are named."""

    flavour: ClassVar[str] = "rtx"
    target: ClassVar[str] = "tensorrt-rtx"
    suffix: ClassVar[str] = ".rtx.engine"
    extra: ClassVar[str | None] = "rtx"
    takes: ClassVar[frozenset[str]] = ONNX_OPTIONS | TAKEN["rtx"]
    evidence: ClassVar[Evidence] = "built only"
