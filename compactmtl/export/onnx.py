"""Target ``onnx``: one ONNX file, checked in ONNX Runtime on the CPU."""

import contextlib
import hashlib
import logging
import re
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch.export import ExportedProgram

from compactmtl.environment import version
from compactmtl.errors import CorruptFileError, ExportError, MissingFileError, UsageError
from compactmtl.export.base import Availability, Evidence, Exporter, Job, Runnable
from compactmtl.export.check import Check
from compactmtl.export.interface import Interface
from compactmtl.export.onnx_names import rename_dimensions, rename_interface, shape_of, strip_traces
from compactmtl.export.onnx_ops import translations
from compactmtl.export.options import ONNX_OPTIONS, PRECISIONS, Dialect, Precision
from compactmtl.export.parity import Parity
from compactmtl.export.precision.lower import lower
from compactmtl.export.rewrites.dialect import check_dialect, refuse
from compactmtl.export.sidecar import (
    InputSpec,
    OutputSpec,
    Sidecar,
    Verified,
    write_sidecar,
)
from compactmtl.export.simplify import check_installed, simplify
from compactmtl.export.stored import Array, Arrays
from compactmtl.files import atomic_write

OPSET = 20
"""Newest operator set that the exporter's own operator library is written in."""
OPSETS = range(18, 24)
"""Operator sets that can be asked for."""
MAX_BYTES = 2**31 - 2**20
"""Protobuf's limit for one file, less room for the graph itself."""
NOISY_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


class OnnxExporter(Exporter):
    """Write ONNX from the exported program.

    Supports:
        Everything ``torch.onnx`` translates; max-unpooling at any image size, for TensorRT, too.
    Refuses:
        Programs over 2 GB; what ``torch.onnx`` cannot translate; for TensorRT, what
        ``check_dialect`` finds.
    Fidelity:
        The rule of ``parity.py``, on stored inputs, another batch size and another image size;
        what is then lowered in precision is run there, too, and its deviation reported per task.
    """

    target: ClassVar[str] = "onnx"
    suffix: ClassVar[str] = ".onnx"
    precisions: ClassVar[tuple[Precision, ...]] = PRECISIONS
    takes: ClassVar[frozenset[str]] = ONNX_OPTIONS
    evidence: ClassVar[Evidence] = "run on hardware"

    def __init__(self, operators: Dialect = "onnx") -> None:
        self.operators: Dialect = operators

    def availability(self) -> Availability:
        """Tell which ONNX Runtime is here; see ``Exporter.availability``."""
        return Availability(version=version("onnxruntime"), runs_here=True)

    def export(self, job: Job) -> Sidecar:
        """Write the file and its sidecar; see ``Exporter.export``."""
        if job.options.simplify:
            check_installed()
        opset = OPSET if job.options.opset is None else job.options.opset
        model = convert(job.program, job.interface, opset=opset, operators=self.operators)
        for key, value in (("compactmtl", version("compactmtl")), ("which", job.which)):
            model.metadata_props.add(key=key, value=value or "")
        parity, simplified = verify(model, job.check), None
        if job.options.simplify:
            model, parity, simplified = simplify(model, parity, partial(self._verify, job))
        if job.options.precision != "fp32":
            model, parity = lower(model, job, run_with=Session)
        content = model.SerializeToString()
        sidecar = _describe(model, content, job, parity, self.operators)
        sidecar = sidecar.model_copy(update={"simplified": simplified})
        with atomic_write(job.path) as temporary:  # replaced only once the sidecar is written, too
            temporary.write_bytes(content)
            write_sidecar(job.path, sidecar)
        return sidecar

    def _verify(self, job: Job, model: onnx.ModelProto) -> Parity:
        """Check a model that was changed since it was converted."""
        if self.operators == "tensorrt":
            refuse(check_dialect(model))
        return verify(model, job.check)

    def load(self, path: Path) -> Runnable:
        """Load an ONNX file in ONNX Runtime; see ``Exporter.load``."""
        if not path.is_file():
            raise MissingFileError(f"no such file: `{path}`")
        return Session(path.read_bytes(), str(path))


class Session:
    """An ONNX model in ONNX Runtime on the CPU, on as many threads as torch uses."""

    def __init__(self, model: bytes, name: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what fails is raised, and said once
        try:
            self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            raise CorruptFileError(f"ONNX Runtime cannot load `{name}`: {_line(error)}") from error
        self.output_names = [output.name for output in self.session.get_outputs()]

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """Run once."""
        values = self.session.run(None, dict(inputs))
        return dict(zip(self.output_names, values, strict=True))


def convert(
    program: ExportedProgram, interface: Interface, *, opset: int, operators: Dialect = "onnx"
) -> onnx.ModelProto:
    """Translate a program into an ONNX model and check it.

    Args:
        program: The model.
        interface: Names of its inputs and outputs.
        opset: Operator set version, one of ``OPSETS``.
        operators: Whose operators it may use.

    Raises:
        UsageError: The operator set is not one of ``OPSETS``.
        ExportError: The program is too large for one file, ``torch.onnx`` or ``onnx.checker``
            refuses it, or it needs operators that the dialect lacks; all are named.
    """
    if opset not in OPSETS:
        raise UsageError(
            f"opset (={opset}) must be one of {OPSETS.start} to {OPSETS.stop - 1}",
            hint=f"leave it out to get {OPSET}",
        )
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if size > MAX_BYTES:
        raise ExportError(
            f"the weights take {size / 2**30:.2f} GiB, one ONNX file holds at most 2 GiB",
            hint="compress further, or convert to half precision first",
        )
    try:
        with _quiet():
            converted = torch.onnx.export(
                program,
                dynamo=True,
                external_data=False,
                verbose=False,
                opset_version=opset,
                custom_translation_table=translations(program, operators),
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(f"torch.onnx cannot translate the program: {_line(error)}") from error
    assert converted is not None
    model: onnx.ModelProto = converted.model_proto
    if len(model.graph.output) != len(interface.output_names):
        raise ExportError(
            f"the program has {len(model.graph.output)} outputs, its manifest names "
            f"{len(interface.output_names)}: {', '.join(interface.output_names)}"
        )
    if operators == "tensorrt":
        refuse(check_dialect(model))
    strip_traces(model)
    rename_interface(model, interface.input_names, interface.output_names)
    rename_dimensions(model)
    stated = {entry.domain: entry.version for entry in model.opset_import}
    if stated.get("") != opset:
        raise ExportError(f"torch.onnx wrote opset {stated.get('')}, asked for was {opset}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"onnx.checker refuses the file: {_line(error)}") from error
    return model


def verify(model: onnx.ModelProto, check: Check) -> Parity:
    """Run a model in ONNX Runtime and compare it with torch by the rule of ``parity.py``.

    Raises:
        ExportError: ONNX Runtime cannot run it, or it computes something else.
    """
    shipped = Session(model.SerializeToString(), "the exported model")
    pools = pool_indices(model)
    probe = Session(with_outputs(model, pools).SerializeToString(), "the probe") if pools else None

    def probed(inputs: Arrays) -> tuple[dict[str, Array], list[Array]]:
        try:
            outputs = shipped(inputs)
            selected = probe(inputs) if probe else {}
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            raise ExportError(f"ONNX Runtime cannot run the model: {_line(error)}") from error
        return outputs, [selected[name] for name in pools]

    return check.parity(probed)


def pool_indices(model: onnx.ModelProto) -> list[str]:
    """Return the values that hold the plane indices of each max-pooling, in order.

    The exporter calls a node after the torch op whose output it makes: here, output 1 of the pool.
    """
    name = re.compile(r"node_max_pool2d_with_indices(_\d+)?__1")
    return [node.output[0] for node in model.graph.node if name.fullmatch(node.name)]


def with_outputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """Return a copy that yields these values, too, behind its own outputs."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    present = {output.name for output in model.graph.output}
    probe.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None)
        for name in names
        if name not in present
    )
    return probe


def _describe(
    model: onnx.ModelProto, content: bytes, job: Job, parity: Parity, operators: Dialect
) -> Sidecar:
    def dtype(value: onnx.ValueInfoProto) -> str:
        return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))

    inputs = []
    for value in model.graph.input:
        array = job.stored.arrays[value.name]
        is_unit = bool(np.min(array) >= 0 and np.max(array) <= 1)
        inputs.append(
            InputSpec(
                name=value.name,
                shape=shape_of(value),
                dtype=dtype(value),
                layout="NCHW" if array.ndim == 4 else None,
                range=(0.0, 1.0) if is_unit else None,
            )
        )
    packages = ("compactmtl", "torch", "onnx", "onnxscript", "onnxruntime")
    return Sidecar(
        artefact=job.path.name,
        kind=OnnxExporter.target,
        operators=operators,
        precision=job.options.precision,
        lowering=parity.lowering,
        which=job.which,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        parent=job.parent,
        opset=model.opset_import[0].version,
        inputs=inputs,
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own chatter away; its errors still come through."""
    levels = {name: logging.getLogger(name).level for name in NOISY_LOGGERS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for name in levels:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _line(error: BaseException) -> str:
    """Return the first line of the error behind an error: the ones around it say less."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
