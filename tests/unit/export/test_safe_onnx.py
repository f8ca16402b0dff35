"""One file of each hostile kind, and what it must not do; intact ones open."""

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compactmtl.errors import (
    CompactMTLError,
    CorruptFileError,
    MissingFileError,
    RefusedError,
    UnsafeFileError,
)
from compactmtl.export.safe_onnx import open_onnx

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]


def make(nodes=None, weight=None, **more):
    """Return x (n, 3) -> MatMul -> y (n, 4)."""
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [weight or numpy_helper.from_array(WEIGHT, "w")],
    )
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=10, **more)


def external(location, **more):
    tensor = TensorProto(
        name="w", dims=WEIGHT.shape, data_type=1, data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def in_branches(depth):
    node = helper.make_node("Identity", ["x"], ["y"])
    for _ in range(depth):
        graph = helper.make_graph([node], "b", [], [])
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
    return node


def with_value(shape):
    model = make()
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, shape))
    return model


def with_function(node, domain="mine"):
    function = helper.make_function(
        domain, "f", ["a", "b"], ["c"], [node], [helper.make_opsetid("", 20)]
    )
    call = helper.make_node("f", ["x", "w"], ["y"], domain=domain)
    return make([call], functions=[function])


def with_sparse():
    model = make()
    model.graph.sparse_initializer.add()
    return model


def with_training():
    model = make()
    model.training_info.add()
    return model


FLOATS = helper.make_tensor("w", TensorProto.FLOAT, [3, 4], WEIGHT.ravel())
HUGE = TensorProto(name="w", dims=[2**20, 2**10], data_type=1, float_data=[0.0])
NODE_HUGE = helper.make_node("Constant", [], ["k"], value=HUGE)
READS = helper.make_node("Constant", [], ["c"], value=external("weights.bin"))
MATMUL = helper.make_node("MatMul", ["a", "b"], ["c"])

HOSTILE = {
    "absolute": (make(weight=external("/etc/hostname")), UnsafeFileError, "outside its own folder"),
    "above": (make(weight=external("../secret")), UnsafeFileError, "outside its own folder"),
    "link": (make(weight=external("link")), UnsafeFileError, "outside its own folder"),
    "missing weights": (make(weight=external("none.bin")), MissingFileError, "none.bin"),
    "short": (make(weight=external("weights.bin", offset=8)), CorruptFileError, "takes 48"),
    "few values": (make(weight=HUGE), CorruptFileError, "has 1 values"),
    "few in a node": (make([NODE_HUGE]), CorruptFileError, "has 1 values"),
    "endless": (with_value([1, 2**20, 2**20]), CorruptFileError, "2\\^31 - 1"),
    "negative": (with_value([-4]), CorruptFileError, "2\\^31 - 1"),
    "deep": (make([in_branches(18)]), CorruptFileError, "deep"),
    "foreign": (
        make([helper.make_node("Evil", ["x"], ["y"], domain="shady")]),
        RefusedError,
        r"`shady\.Evil`",
    ),
    "function that reads": (with_function(READS), UnsafeFileError, "function `f` reads"),
    "sparse": (with_sparse(), RefusedError, "sparse"),
    "training": (with_training(), RefusedError, "training"),
}


@pytest.fixture
def folder(tmp_path):
    """Return a folder with weights, and with a link to a secret beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(48))
    (folder / "weights.bin").write_bytes(WEIGHT.tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    return folder


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_is_refused_in_one_line(folder, kind):
    model, error_type, words = HOSTILE[kind]
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(error_type, match=words) as error:
        open_onnx(folder / "m.onnx")
    assert "m.onnx" in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    "model",
    [make(), make(weight=FLOATS), make(weight=external("weights.bin")), with_function(MATMUL)],
)
def test_intact_opens_with_its_weights(folder, model):
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    opened = open_onnx(folder / "m.onnx")
    onnx.checker.check_model(opened)
    np.testing.assert_array_equal(numpy_helper.to_array(opened.graph.initializer[0]), WEIGHT)


def test_over_two_gigabytes_is_refused_unread(folder):
    with (folder / "m.onnx").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(CorruptFileError, match="2 GiB"):
        open_onnx(folder / "m.onnx")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
def test_any_damage_is_one_line_or_harmless(folder, place, byte, cut):
    content = bytearray(make().SerializeToString())
    place %= len(content)
    content[place] = byte
    (folder / "m.onnx").write_bytes(content[:place] if cut else content)
    message = ""
    try:
        open_onnx(folder / "m.onnx")
    except CompactMTLError as error:
        message = error.message
    assert "\n" not in message
