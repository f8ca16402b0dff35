"""Target ``executorch``: ExecuTorch with XNNPACK."""

from typing import ClassVar

from compactmtl.export.base import Evidence
from compactmtl.export.environments import TORCH, Environment
from compactmtl.export.worker_target import WorkerExporter


class ExecuTorchExporter(WorkerExporter):
    """Write a ``.pte`` file, run in ExecuTorch.

    What XNNPACK does not take runs in ExecuTorch's portable kernels, which are slow.
    """

    target: ClassVar[str] = "executorch"
    suffix: ClassVar[str] = ".pte"
    evidence: ClassVar[Evidence] = "run on hardware"
    unpools: ClassVar[bool] = True
    environment: ClassVar[Environment] = Environment(
        target="executorch", packages=("executorch==1.5.1", TORCH), gigabytes=6.1, minutes=7
    )
