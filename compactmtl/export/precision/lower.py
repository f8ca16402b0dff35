"""From a checked fp32 ONNX model to one in lower precision, measured per task."""

import math
from collections.abc import Collection

import onnx

from compactmtl.errors import ExportError, NonFiniteError
from compactmtl.export.base import Job
from compactmtl.export.options import Dialect
from compactmtl.export.parity import Drift, Parity
from compactmtl.export.precision.convert import Converter, make_converter
from compactmtl.export.precision.run import Run, RunWith, load
from compactmtl.export.precision.scores import Scores
from compactmtl.export.precision.search import Found, find_kept
from compactmtl.export.sidecar import Budget, KeptLayer, Lowering, Samples


def lower(
    model: onnx.ModelProto, job: Job, operators: Dialect, run_with: RunWith
) -> tuple[onnx.ModelProto, Parity]:
    """Lower a model to the precision that a job asks for, run it and measure it.

    Measured per task: the deviation from torch in fp64, and the change of its own metric against
    the fp32 model where there are labelled images. A budget of ``max_drop`` limits the latter's
    growth as an error; without labelled images, the relative RMS.

    Args:
        model: In fp32, checked.
        job: Its options say the precision and the budgets.
        operators: Whose operators the file may hold.
        run_with: ONNX Runtime.

    Raises:
        ExportError: The model cannot be lowered, ONNX Runtime cannot run it, or no choice of layers
            is within the budgets.
        NonFiniteError: An output holds NaN or Inf in the lower precision.
    """
    name = f"the {job.options.precision} model"
    converter = make_converter(model, job, operators)
    scores = Scores(job.labelled, load(model, run_with, "the fp32 model"))
    found = Found(kept=(), costs={}, growth={})
    if job.options.max_drop:
        found = _search(converter, job, scores, run_with)
    lowered = converter.build(found.kept)
    try:
        onnx.checker.check_model(lowered, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"onnx.checker refuses {name}: {reason}") from error
    run = load(lowered, run_with, name)
    parity = job.check.drift(run)
    for task, change in scores.changes(run).items():
        parity.per_task[task] = parity.per_task[task].model_copy(update={"metric": change})
    parity.lowering = _describe(converter, job, scores, found)
    return lowered, parity


def _search(converter: Converter, job: Job, scores: Scores, run_with: RunWith) -> Found:
    check, budgets = job.check, job.options.max_drop
    quick = Drift(check.reference, check.cases[:1], check.output_names)
    whole = Drift(check.reference, check.cases, check.output_names)

    def lowered(keep: Collection[str]) -> Run:
        return load(converter.build(keep), run_with, f"the {job.options.precision} model")

    def errors(keep: Collection[str]) -> dict[str, float]:
        try:
            return _rms(quick, lowered(keep))
        except NonFiniteError:  # other layers may be lowered, if not these
            return dict.fromkeys(budgets, math.inf)

    def growth(keep: Collection[str]) -> dict[str, float]:
        run = lowered(keep)
        try:
            return _rms(whole, run) | scores.growth(run)
        except NonFiniteError:
            return dict.fromkeys(budgets, math.inf)

    return find_kept(
        list(converter.layers), errors=errors, growth=growth, budgets=budgets, progress=job.progress
    )


def _describe(converter: Converter, job: Job, scores: Scores, found: Found) -> Lowering:
    calibration = None
    if job.calibration is not None:
        calibration = Samples(source=job.calibration.source, num=job.calibration.num_samples)
    return Lowering(
        method=converter.method,
        num_layers=len(converter.layers),
        calibration=calibration,
        scored_on=scores.scored_on,
        not_scored=scores.why_not,
        kept=[
            KeptLayer(
                name=converter.layers[name],
                costs={
                    task: cost if math.isfinite(cost) else None
                    for task, cost in found.costs[name].items()
                },
            )
            for name in found.kept
        ],
        budgets={
            task: Budget(limit=limit, measure=scores.measure(task), reached=found.growth[task])
            for task, limit in job.options.max_drop.items()
        },
    )


def _rms(drift: Drift, run: Run) -> dict[str, float]:
    return {name: parity.rel_rms for name, parity in drift.measure(run).items()}
