"""From a checked fp32 ONNX model to one in lower precision, measured per task."""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import onnx

from compactmtl.errors import CorruptFileError, ExportError
from compactmtl.export.base import Job
from compactmtl.export.parity import Drift, Parity
from compactmtl.export.precision.fp16 import to_fp16
from compactmtl.export.precision.int8 import Int8
from compactmtl.export.precision.layers import layers
from compactmtl.export.precision.search import Found, find_kept
from compactmtl.export.sidecar import Budget, KeptLayer, Lowering, Samples
from compactmtl.export.stored import Array, Arrays

Run = Callable[[Arrays], dict[str, Array]]


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


def lower(
    model: onnx.ModelProto, job: Job, run_with: Callable[[bytes, str], Run]
) -> tuple[onnx.ModelProto, Parity]:
    """Lower a model to the precision that a job asks for, run it and measure it.

    Args:
        model: In fp32, checked.
        job: Its options say the precision and the budgets.
        run_with: Loads a model's bytes in ONNX Runtime; the text is what to call it in an error.

    Raises:
        ExportError: The model cannot be lowered, ONNX Runtime cannot run it, or no choice of layers
            is within the budgets.
        NonFiniteError: An output holds NaN or Inf in the lower precision.
    """
    precision = job.options.precision
    converter = _converter(model, job)
    check = job.check

    def load(keep: Collection[str]) -> Run:
        return _load(converter.build(keep), run_with, precision)

    whole = Drift(check.reference, check.cases, check.output_names)
    found = Found(kept=(), costs={}, growth={})
    if job.options.max_drop:
        quick = Drift(check.reference, check.cases[:1], check.output_names)
        found = find_kept(
            list(converter.layers),
            errors=lambda keep: _rms(quick, load(keep)),
            growth=lambda keep: _rms(whole, load(keep)),
            budgets=job.options.max_drop,
            progress=job.progress,
        )
    lowered = converter.build(found.kept)
    try:
        onnx.checker.check_model(lowered, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"onnx.checker refuses the {precision} model: {reason}") from error
    parity = check.drift(_load(lowered, run_with, precision))
    samples = job.calibration
    parity.lowering = Lowering(
        method=converter.method,
        num_layers=len(converter.layers),
        calibration=None
        if samples is None
        else Samples(source=samples.source, num=samples.num_samples),
        kept=[
            KeptLayer(name=converter.layers[name], costs=dict(found.costs[name]))
            for name in found.kept
        ],
        budgets={
            task: Budget(limit=limit, measure="relative RMS", reached=found.growth[task])
            for task, limit in job.options.max_drop.items()
        },
    )
    return lowered, parity


def _converter(model: onnx.ModelProto, job: Job) -> Converter:
    if job.options.precision == "fp16":
        return Half(model)
    assert job.calibration is not None
    return Int8(model, job.calibration)


def _load(model: onnx.ModelProto, run_with: Callable[[bytes, str], Run], precision: str) -> Run:
    name = f"the {precision} model"
    try:
        loaded = run_with(model.SerializeToString(), name)
    except CorruptFileError as error:
        raise ExportError(f"{error.message}; nothing was written") from error

    def run(inputs: Arrays) -> dict[str, Array]:
        try:
            return loaded(inputs)
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            reason = str(error).strip().splitlines()[0]
            raise ExportError(f"ONNX Runtime cannot run {name}: {reason}") from error

    return run


def _rms(drift: Drift, run: Run) -> dict[str, float]:
    return {name: parity.rel_rms for name, parity in drift.measure(run).items()}
