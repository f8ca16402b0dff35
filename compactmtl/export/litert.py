"""Target ``litert``: LiteRT (formerly TensorFlow Lite), by litert-torch."""

from typing import ClassVar

from compactmtl.export.base import Evidence
from compactmtl.export.environments import TORCH, Environment
from compactmtl.export.worker_target import WorkerExporter


class LiteRtExporter(WorkerExporter):
    """Write a ``.tflite`` file, run in LiteRT.

    Refuses:
        Max-unpooling whose windows do not tile the plane: litert-torch 0.10.0 converts it, and
        LiteRT 2.3.0 then refuses to run what it wrote (BROADCAST_TO).
    """

    target: ClassVar[str] = "litert"
    suffix: ClassVar[str] = ".tflite"
    evidence: ClassVar[Evidence] = "run on hardware"
    environment: ClassVar[Environment] = Environment(
        target="litert",
        packages=("litert-torch==0.10.0", "ai-edge-litert==2.3.0", TORCH),
        gigabytes=6.7,
        minutes=5,
    )
