"""An ONNX model in ONNX Runtime on the CPU, run and compared with the program."""

import re

import onnx
import onnxruntime as ort
import torch

from compactmtl.errors import CorruptFileError, ExportError
from compactmtl.export.check import Check
from compactmtl.export.parity import Parity
from compactmtl.export.stored import Array, Arrays


class Session:
    """An ONNX model in ONNX Runtime on the CPU, on as many threads as torch uses."""

    def __init__(self, model: bytes, name: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what fails is raised, and said once
        try:
            self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            raise CorruptFileError(
                f"ONNX Runtime cannot load `{name}`: {first_line(error)}"
            ) from error
        self.output_names = [output.name for output in self.session.get_outputs()]

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """Run once."""
        values = self.session.run(None, dict(inputs))
        return dict(zip(self.output_names, values, strict=True))


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
            raise ExportError(f"ONNX Runtime cannot run the model: {first_line(error)}") from error
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
