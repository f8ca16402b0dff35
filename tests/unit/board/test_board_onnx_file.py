"""An ONNX file looked at without protobuf: the same as with it, and nothing hostile."""

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compactmtl.board import onnx_file
from compactmtl.board.errors import AbsentError, BoardError, DamagedError, UnsafeError
from compactmtl.board.onnx_file import read_onnx

names = st.text("abc", min_size=1, max_size=3)
shapes = st.lists(st.integers(1, 5) | names, max_size=4)
few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(
    st.dictionaries(names, shapes, max_size=3),
    st.dictionaries(
        names,
        st.tuples(
            st.sampled_from([np.float32, np.int64, np.float16, np.int8, np.bool_, np.float64]),
            st.lists(st.integers(0, 4), max_size=3),
        ),
        max_size=3,
    ),
    st.lists(st.sampled_from(["Conv", "Relu", "MaxPool"]), max_size=5),
)
def test_it_reads_what_protobuf_reads(tmp_path, inputs, weights, operators):
    graph = helper.make_graph(
        [helper.make_node(each, ["x"], ["y"], name=f"n{i}") for i, each in enumerate(operators)],
        "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [],
        [
            numpy_helper.from_array(np.zeros(shape, kind), name)
            for name, (kind, shape) in weights.items()
        ],
    )
    onnx.save(helper.make_model(graph), tmp_path / "net.onnx")
    found = read_onnx(tmp_path / "net.onnx")
    assert found.nodes == {
        kind: [f"n{i}" for i, each in enumerate(operators) if each == kind]
        for kind in set(operators)
    }
    assert found.inputs == {
        name: [None if isinstance(size, str) else size for size in shape]
        for name, shape in inputs.items()
        if name not in weights
    }


@few
@given(st.data())
def test_damaged_bytes_are_read_or_refused_in_one_line(tmp_path, make_conv, data):
    content = bytearray(make_conv(tmp_path / "net.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    (tmp_path / "bad.onnx").write_bytes(content)
    message = "read"
    try:
        read_onnx(tmp_path / "bad.onnx")
    except BoardError as error:
        message = error.message
    assert message
    assert message.isprintable()


def external(path, location, *, offset=0, length=48):
    """Save a weight of 3x4 floats whose bytes lie elsewhere."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    graph = helper.make_graph([], "net", [], [], [tensor])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def test_weights_beside_the_file_are_fine(tmp_path):
    (tmp_path / "net.data").write_bytes(bytes(48))
    read_onnx(external(tmp_path / "net.onnx", "net.data"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.data").write_bytes(bytes(64))
    read_onnx(external(tmp_path / "net.onnx", "sub/net.data", offset=16))


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret", "sub/../../secret", "", "..\\secret", "C:\\secret", "link"],
)
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(48))
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeError, match="outside its own folder"):
        read_onnx(external(folder / "net.onnx", location))


def test_weights_that_are_missing_or_too_short(tmp_path):
    with pytest.raises(AbsentError, match="not there"):
        read_onnx(external(tmp_path / "net.onnx", "net.data"))
    (tmp_path / "net.data").write_bytes(bytes(48))
    with pytest.raises(DamagedError, match="takes 48 bytes at 16"):
        read_onnx(external(tmp_path / "net.onnx", "net.data", offset=16))
    with pytest.raises(DamagedError, match=r"has 40 bytes, its shape \[3, 4\] takes 48"):
        read_onnx(external(tmp_path / "net.onnx", "net.data", length=40))
    with pytest.raises(DamagedError, match="no number"):
        read_onnx(external(tmp_path / "net.onnx", "net.data", length="many"))


def test_external_weights_of_a_constant_within_a_branch_are_seen(tmp_path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    inner = helper.make_graph([], "branch", [], [])
    inner.node.add(op_type="Constant").attribute.add(name="value", type=4).t.CopyFrom(tensor)
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph([node], "net", [], [])
    (tmp_path / "net.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(UnsafeError, match="outside its own folder"):
        read_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize("shape", [[2**20, 3, 2**10, 2**10], [1, 3, -8, 8], [0, 3, 8, 8]])
def test_absurd_shapes_are_refused(tmp_path, make_conv, shape):
    with pytest.raises(DamagedError, match="has the shape"):
        read_onnx(make_conv(tmp_path / "net.onnx", shape=shape))


def test_a_weight_that_promises_more_than_it_holds_is_refused(tmp_path):
    for dims, words in (([2**16, 2**16], "2\\^31"), ([3, 5], "has 48 bytes"), ([-3, -4], "shape")):
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims)
        tensor.raw_data = bytes(48)
        graph = helper.make_graph([], "net", [], [], [tensor])
        (tmp_path / "net.onnx").write_bytes(helper.make_model(graph).SerializeToString())
        with pytest.raises(DamagedError, match=words):
            read_onnx(tmp_path / "net.onnx")


def test_names_that_would_write_over_the_terminal_are_refused(tmp_path, make_conv):
    path = make_conv(tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes().replace(b"Conv", b"C\x1b[2"))
    with pytest.raises(DamagedError, match="do not print"):
        read_onnx(path)


def test_graphs_within_graphs_end_somewhere(tmp_path):
    graph = helper.make_graph([], "inner", [], [])
    for _ in range(20):
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph)
        graph = helper.make_graph([node], "outer", [], [])
    (tmp_path / "net.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(DamagedError, match="deep"):
        read_onnx(tmp_path / "net.onnx")


def test_files_over_two_gigabytes_are_refused_unread(tmp_path, monkeypatch):
    with (tmp_path / "net.onnx").open("wb") as file:
        file.truncate(2**31)  # a hole: it takes no space
    monkeypatch.setattr(onnx_file, "read_bytes", None)
    with pytest.raises(DamagedError, match=r"takes 2\.00 GiB, an ONNX file at most 2 GiB"):
        read_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize("content", [b"", b"not protobuf at all", b"\x3a\xff\xff\xff\xff\x0f"])
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(DamagedError, match="not an intact ONNX file"):
        read_onnx(tmp_path / "net.onnx")
    with pytest.raises(AbsentError):
        read_onnx(tmp_path / "none.onnx")
