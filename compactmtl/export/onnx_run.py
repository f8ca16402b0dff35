"""An ONNX model in ONNX Runtime on the CPU, run and compared with the program."""

import re

import onnx
import torch

from compactmtl.board.onnx_session import OnnxSession
from compactmtl.errors import BenchError, ExportError
from compactmtl.export.board_errors import translated
from compactmtl.export.check import Check
from compactmtl.export.parity import Parity
from compactmtl.export.session import TranslatedSession
from compactmtl.export.stored import Array, Arrays


class Session(TranslatedSession):
    """An ONNX model in ONNX Runtime on the CPU, on as many threads as torch uses."""

    def __init__(self, model: bytes, name: str) -> None:
        with translated():
            super().__init__(OnnxSession(model, threads=torch.get_num_threads(), name=name))


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
        except BenchError as error:
            raise ExportError(error.message) from error
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


def first_line(error: BaseException) -> str:
    """Return the first line of the error behind an error: the ones around it say less."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
