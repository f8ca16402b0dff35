"""The bundled network: intact ONNX, written without protobuf, that computes what numpy computes."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compactmtl.board import selftest_network
from compactmtl.board.errors import DamagedError, UnsafeError
from compactmtl.board.files import sha256, to_json
from compactmtl.board.onnx_file import read_onnx
from compactmtl.board.onnx_write import TYPES, Node, model_bytes
from compactmtl.board.received import SENT, check_received

arrays = st.sampled_from(sorted(TYPES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, max_side=5))
)
names = st.text("abcdefgh_", min_size=1, max_size=300)


@given(
    names,
    arrays,
    st.dictionaries(names, st.integers(0, 2**40) | st.lists(st.integers(0, 2**20), min_size=1)),
)
def test_what_is_written_is_what_onnx_reads(name, value, attributes):
    content = model_bytes(
        [Node("Op", [name, "x"], "y", attributes)],
        {name: value},
        inputs={"x": [1, 300]},
        outputs={},
    )
    graph = onnx.load_from_string(content).graph
    read = onnx.numpy_helper.to_array(graph.initializer[0])
    assert read.dtype == value.dtype
    np.testing.assert_array_equal(read, value)
    assert list(graph.node[0].input) == [name, "x"]
    found = {a.name: onnx.helper.get_attribute_value(a) for a in graph.node[0].attribute}
    assert found == attributes
    shape = graph.input[0].type.tensor_type.shape
    assert [each.dim_value for each in shape.dim] == [1, 300]


@pytest.mark.parametrize("precision", selftest_network.PRECISIONS)
def test_the_network_computes_what_numpy_computes(precision, tmp_path):
    content = selftest_network.network(precision)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    (tmp_path / "x.onnx").write_bytes(content)
    assert read_onnx(tmp_path / "x.onnx").inputs == {"image": [1, 3, 128, 128]}
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"image": selftest_network.image()})
    want = selftest_network.expected(selftest_network.image())
    error = np.abs(got - want).max() / np.abs(want).max()
    assert error <= selftest_network.TOLERANCES[precision] / 2
    if precision != "fp32":  # it really is another precision
        assert error > 1e-5


def test_a_wrong_result_is_over_every_tolerance():
    image = selftest_network.image()
    want, other = selftest_network.expected(image), selftest_network.expected(image[..., ::-1])
    error = np.abs(other - want).max() / np.abs(want).max()
    assert error > 2 * max(selftest_network.TOLERANCES.values())


def test_files_are_compared_with_the_list_they_came_with(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / SENT).write_bytes(to_json({"a": sha256(b"1")}))
    assert check_received(tmp_path / SENT) == 1
    (tmp_path / "a").write_bytes(b"2")
    with pytest.raises(DamagedError, match="`a` did not arrive as it was sent"):
        check_received(tmp_path / SENT)


@pytest.mark.parametrize("name", ["/etc/hostname", "../a", "b/../../a"])
def test_a_list_names_no_file_elsewhere(name, tmp_path):
    (tmp_path / SENT).write_bytes(to_json({name: "0" * 64}))
    with pytest.raises(UnsafeError, match="outside its folder"):
        check_received(tmp_path / SENT)
