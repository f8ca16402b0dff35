import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compactmtl.cli import app


@pytest.fixture
def path(tmp_path):
    """One convolution, 3 to 4 channels, for images of any size."""
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "first.weight"], ["y"], kernel_shape=[1, 1])],
        "net",
        [helper.make_tensor_value_info("image", kind, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "first.weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_cost_of_a_file(path, capsys):
    assert app.run(["inspect", str(path), "--cost", "--size", "5x7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["macs"], found["flops"]) == (12 * 35, 24 * 35)
    assert (found["num_params"], found["weights_bytes"]) == (12, 48)
    assert found["peak_activation_bytes"] == 4 * (3 + 4) * 35
    assert found["shapes"] == {"image": [1, 3, 5, 7]}
    (layer,) = found["layers"]
    assert layer["name"] == "first"
    assert layer["output_shape"] == [1, 4, 5, 7]


def test_what_is_printed_says_which_count_it_is(path, capsys):
    assert app.run(["inspect", str(path), "--cost", "--size", "5x7"]) == 0
    out = capsys.readouterr().out
    assert "FLOPs (= 2 x MACs)" in out
    assert "840" in out


def test_sizes_of_the_inputs_beside_it(path, capsys):
    images = np.zeros((8, 3, 6, 6), np.float32)
    np.savez(path.with_name("inputs.npz"), image=images, source="rooms, val")
    assert app.run(["inspect", str(path), "--cost", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["macs"] == 12 * 36


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("m.onnx", [], "free dimension `h`"),
        ("m.onnx", ["--size", "5"], "expected HEIGHTxWIDTH"),
        ("m.pt2", [], "nothing counts"),
    ],
)
def test_what_cannot_be_counted(path, capsys, name, size, said):
    assert app.run(["inspect", str(path.with_name(name)), "--cost", *size]) == 2
    assert said in capsys.readouterr().err


def test_code_from_elsewhere_is_refused_before_anything_runs(path, capsys):
    model = onnx.load(path)
    model.graph.node[0].domain = "my.ops"
    onnx.save(model, path)
    assert app.run(["inspect", str(path), "--cost", "--size", "5x7"]) == 3
    assert "my.ops.Conv" in capsys.readouterr().err
