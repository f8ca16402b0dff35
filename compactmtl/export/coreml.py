"""Target ``coreml``: a Core ML package, by coremltools. It is converted, and not run."""

from typing import ClassVar

from compactmtl.export.base import Evidence
from compactmtl.export.environments import TORCH, Environment
from compactmtl.export.worker_target import WorkerExporter


class CoreMlExporter(WorkerExporter):
    """Write a ``.mlpackage`` folder in fp32; inputs and outputs keep their names.

    Refuses:
        Max-unpooling whose windows do not tile the plane: coremltools 9.0 has no conversion.
    """

    target: ClassVar[str] = "coreml"
    suffix: ClassVar[str] = ".mlpackage"
    runs_on: ClassVar[str] = "macOS and iOS"
    evidence: ClassVar[Evidence] = "built only"
    environment: ClassVar[Environment] = Environment(
        target="coreml", packages=("coremltools==9.0", TORCH), gigabytes=6.4, minutes=6
    )
