"""onnxsim's part is played by small programs: what is kept is decided here, not there."""

import sys

import onnx
import pytest
from onnx import TensorProto, helper

from compactmtl.errors import ExportError, MissingExtraError
from compactmtl.export import simplify as module
from compactmtl.export.parity import Parity
from compactmtl.export.simplify import check_installed, simplify

BEFORE, AFTER = Parity(), Parity()
READ = "import onnx, sys\nm = onnx.load(sys.argv[1])\n"
WRITE = "\nonnx.save(m, sys.argv[2])"


@pytest.fixture
def model():
    """Return x -> Identity -> Relu -> y with a batch size that has a name."""
    shape = ["batch", 3]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model.metadata_props.add(key="which", value="compact")
    return model


@pytest.fixture
def run(monkeypatch, model):
    def run_with(program, check=lambda simplified: AFTER):
        monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", program))
        return simplify(model, BEFORE, check)

    return run_with


def test_smaller_and_equal_is_kept_with_the_interface_it_had(run, model):
    renamed = "m.graph.output[0].type.tensor_type.shape.dim[0].dim_param = 'unk'\n"
    less = "del m.graph.node[0]; m.graph.node[0].input[0] = 'x'; del m.metadata_props[:]\n"
    got, parity, found = run(READ + renamed + less + WRITE)
    assert [node.op_type for node in got.graph.node] == ["Relu"]
    assert got.graph.output == model.graph.output
    assert got.metadata_props == model.metadata_props
    assert parity is AFTER
    assert found.nodes == (2, 1)
    assert found.size_bytes == (model.ByteSize(), got.ByteSize())
    assert found.not_kept is None


def differs(simplified):
    raise ExportError("output `y` differs from torch")


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (READ + WRITE, "nothing was gained"),
        (READ + "m.doc_string = 'x' * 99" + WRITE, "it is larger"),
        (READ + "m.graph.output[0].name = 'z'" + WRITE, "names of inputs or outputs"),
        (READ + "del m.graph.node[0]" + WRITE, "a"),  # reads what no node makes
        ("import os; os.abort()", "onnxsim ended with -6"),
        ("raise SystemExit('Oh\\nno')", "onnxsim ended with 1: no"),
        ("pass", "onnxsim ended with 0: no reason"),
    ],
)
def test_anything_else_is_thrown_away_and_said(run, model, program, why):
    got, parity, found = run(program)
    assert got is model
    assert parity is BEFORE
    assert why in found.not_kept
    assert "\n" not in found.not_kept


def test_what_computes_something_else_is_thrown_away(run, model):
    less = "del m.graph.node[0]; m.graph.node[0].input[0] = 'x'; m.graph.node[0].op_type = 'Abs'"
    got, _, found = run(READ + less + WRITE, check=differs)
    assert got is model
    assert found.not_kept == "output `y` differs from torch"


def test_one_that_does_not_come_back_is_stopped(run, model, monkeypatch):
    monkeypatch.setattr(module, "TIME_LIMIT_S", 0.2)
    got, _, found = run("import time; time.sleep(60)")
    assert got is model
    assert found.not_kept == "onnxsim took longer than 0 s"


def test_without_onnxsim_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="onnxsim") as error:
        check_installed()
    assert error.value.hint == 'pip install "compactmtl[simplify]"'


@pytest.mark.slow
def test_the_real_one_makes_something_equal(tmp_path, program, interface, stored):
    pytest.importorskip("onnxsim", reason='pip install "compactmtl[simplify]"')
    from compactmtl.export.base import make_job
    from compactmtl.export.onnx import OnnxExporter
    from compactmtl.export.options import Options
    from compactmtl.export.sidecar import Parent

    sidecar = OnnxExporter("tensorrt").export(
        make_job(
            program,
            interface,
            tmp_path / "model.trt.onnx",
            stored=stored,
            parent=Parent(file="model.pt2", sha256=None),
            which="compact",
            options=Options(simplify=True),
        )
    )
    found = sidecar.simplified
    nodes = len(onnx.load(tmp_path / "model.trt.onnx").graph.node)
    assert nodes == found.nodes[0 if found.not_kept else 1]
    assert found.not_kept in (None, "it is larger", "nothing was gained")
