"""Write an ONNX file with its sidecar, once it was run and compared."""

import hashlib
from functools import partial

import onnx

from compactmtl.environment import version
from compactmtl.export.base import Job
from compactmtl.export.onnx_convert import convert
from compactmtl.export.onnx_names import shape_of
from compactmtl.export.onnx_run import Session, verify
from compactmtl.export.options import OPSET, Dialect
from compactmtl.export.parity import Parity
from compactmtl.export.precision.lower import lower
from compactmtl.export.rewrites.dialect import check_dialect, refuse
from compactmtl.export.sidecar import InputSpec, OutputSpec, Sidecar, Verified, write_sidecar
from compactmtl.export.simplify import check_installed, simplify
from compactmtl.files import atomic_write


def write_onnx(job: Job, operators: Dialect, kind: str) -> Sidecar:
    """Convert, check, simplify and lower as asked; write nothing unless all of it holds.

    Args:
        job: What to export.
        operators: Whose operators the file may hold.
        kind: The target, for the sidecar.

    Raises:
        ExportError: The program cannot be converted, or the file computes something else.
    """
    if job.options.simplify:
        check_installed()
    opset = OPSET if job.options.opset is None else job.options.opset
    model = convert(job.program, job.interface, opset=opset, operators=operators)
    for key, value in (("compactmtl", version("compactmtl")), ("which", job.which)):
        model.metadata_props.add(key=key, value=value or "")
    parity, simplified = verify(model, job.check), None
    if job.options.simplify:
        model, parity, simplified = simplify(model, parity, partial(_verify_again, job, operators))
    if job.options.precision != "fp32":
        model, parity = lower(model, job, operators, run_with=Session)
        _check_operators(model, operators)
    content = model.SerializeToString()
    sidecar = _describe(model, content, job, parity, operators, kind)
    sidecar = sidecar.model_copy(update={"simplified": simplified})
    with atomic_write(job.path) as temporary:  # replaced only once the sidecar is written, too
        temporary.write_bytes(content)
        write_sidecar(job.path, sidecar)
    return sidecar


def _verify_again(job: Job, operators: Dialect, model: onnx.ModelProto) -> Parity:
    """Check a model that was changed since it was converted."""
    _check_operators(model, operators)
    return verify(model, job.check)


def _check_operators(model: onnx.ModelProto, operators: Dialect) -> None:
    if operators == "tensorrt":
        refuse(check_dialect(model))


def _describe(
    model: onnx.ModelProto, content: bytes, job: Job, parity: Parity, operators: Dialect, kind: str
) -> Sidecar:
    def dtype(value: onnx.ValueInfoProto) -> str:
        return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))

    packages = ("compactmtl", "torch", "onnx", "onnxscript", "onnxruntime")
    return Sidecar(
        artefact=job.path.name,
        kind=kind,
        operators=operators,
        precision=job.options.precision,
        lowering=parity.lowering,
        which=job.which,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        parent=job.parent,
        opset=model.opset_import[0].version,
        inputs=[
            InputSpec.of(value.name, shape_of(value), dtype(value), job.stored.arrays[value.name])
            for value in model.graph.input
        ],
        outputs=[
            OutputSpec(
                name=value.name,
                shape=shape_of(value),
                dtype=dtype(value),
                task=job.interface.tasks.get(value.name),
            )
            for value in model.graph.output
        ],
        verified=Verified(
            status="ran",
            runtime=f"onnxruntime {version('onnxruntime')}",
            per_task=parity.per_task,
            cases=[case.describe() for case in job.check.cases],
            selections=parity.selections(),
        ),
        versions={name: version(name) for name in packages},
    )
