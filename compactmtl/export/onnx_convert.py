"""From an exported program to an ONNX model."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from torch.export import ExportedProgram

from compactmtl.errors import ExportError
from compactmtl.export.interface import Interface
from compactmtl.export.onnx_names import rename_dimensions, rename_interface, strip_traces
from compactmtl.export.onnx_ops import translations
from compactmtl.export.onnx_run import first_line
from compactmtl.export.options import Dialect, check_opset
from compactmtl.export.rewrites.dialect import check_dialect, refuse

MAX_BYTES = 2**31 - 2**20
"""Protobuf's limit for one file, less room for the graph itself."""
NOISY_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


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
    check_opset(opset)
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
        raise ExportError(
            f"torch.onnx cannot translate the program: {first_line(error)}"
        ) from error
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
        raise ExportError(f"onnx.checker refuses the file: {first_line(error)}") from error
    return model


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
