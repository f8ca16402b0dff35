"""The two ways to lower an fp32 model, seen alike."""

from collections.abc import Collection, Mapping
from typing import Protocol

import onnx

from compactmtl.export.base import Job
from compactmtl.export.options import Dialect
from compactmtl.export.precision.fp16 import to_fp16
from compactmtl.export.precision.int8 import Int8
from compactmtl.export.precision.layers import layers


class Converter(Protocol):
    """Lowers an fp32 model, all of it or all but some layers."""

    @property
    def method(self) -> str:
        """How, in words."""

    @property
    def layers(self) -> Mapping[str, str]:
        """Node name to readable name of every layer that it can lower, in order."""

    def build(self, keep: Collection[str]) -> onnx.ModelProto:
        """Return the model with all layers lowered but those of ``keep``, by node name."""


class Half:
    """FP16 throughout."""

    method = "fp16, ONNX Runtime's converter"

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.layers = model, layers(model)

    def build(self, keep: Collection[str]) -> onnx.ModelProto:
        """Convert; see ``Converter.build``."""
        return to_fp16(self.model, keep)


def make_converter(model: onnx.ModelProto, job: Job, operators: Dialect) -> Converter:
    """Return what lowers a model to the precision of a job, for whom its operators are.

    Raises:
        ExportError: The model has nothing to lower.
    """
    if job.options.precision == "fp16":
        return Half(model)
    assert job.calibration is not None
    return Int8(model, job.calibration, operators)
