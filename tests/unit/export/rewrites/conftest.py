import onnxruntime as ort
import pytest

from compactmtl.export.onnx_convert import convert
from compactmtl.export.options import OPSET


def _convert_and_run(program, interface, *inputs):
    """Return the TensorRT dialect's model and its outputs in ONNX Runtime, one dict per input."""
    model = convert(program, interface, opset=OPSET, operators="tensorrt")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (name,) = interface.input_names
    runs = [session.run(None, {name: x.numpy()}) for x in inputs]
    return model, [dict(zip(interface.output_names, run, strict=True)) for run in runs]


@pytest.fixture(scope="session")
def convert_and_run():
    return _convert_and_run
