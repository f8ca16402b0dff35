import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compactmtl.bench.onnx_graph import count_onnx, read_onnx
from compactmtl.errors import BenchError, CorruptFileError, MissingFileError


def images(*shape):
    return {"image": np.zeros(shape, np.float32)}


def test_by_hand(tmp_path, model):
    onnx.save(model(8, classes=5), tmp_path / "m.onnx")
    found = count_onnx(tmp_path / "m.onnx", images(2, 3, 10, 12))
    assert [(layer.name, layer.op, layer.macs) for layer in found.layers] == [
        ("first", "Conv", 2 * 8 * 10 * 12 * 27),
        ("head", "Conv", 2 * 5 * 10 * 12 * 8),
    ]
    assert found.macs == sum(layer.macs for layer in found.layers)
    assert found.num_params == 8 * 27 + 8 + 5 * 8
    assert found.weights_bytes == 4 * found.num_params
    assert found.layers[0].num_params == 8 * 27 + 8
    assert found.layers[1].output_shape == (2, 5, 10, 12)
    assert found.uncounted == ()


def weighted(op, inputs, shape, initializers, **attributes):
    node = helper.make_node(op, ["x", *inputs], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.zeros(size, np.float32), name)
            for name, size in initializers.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    ("op", "x", "weights", "attributes", "macs"),
    [
        # groups: each output channel reads 6 / 3 inputs
        ("Conv", (2, 6, 9, 9), {"w": (12, 2, 3, 3)}, {"group": 3}, 2 * 12 * 7 * 7 * 2 * 9),
        # transposed: every input value reaches 4 / 2 * 2 outputs per tap
        ("ConvTranspose", (1, 4, 5, 5), {"w": (4, 3, 2, 2)}, {"group": 2}, 4 * 25 * 3 * 4),
        ("Gemm", (7, 4), {"w": (4, 3), "b": (3,)}, {}, 7 * 4 * 3),
        ("Gemm", (4, 7), {"w": (3, 4)}, {"transA": 1, "transB": 1}, 7 * 4 * 3),
        ("MatMul", (2, 5, 7, 4), {"w": (4, 3)}, {}, 2 * 5 * 7 * 4 * 3),
    ],
)
def test_each_operation(tmp_path, op, x, weights, attributes, macs):
    onnx.save(weighted(op, list(weights), x, weights, **attributes), tmp_path / "m.onnx")
    found = count_onnx(tmp_path / "m.onnx", {"x": np.zeros(x, np.float32)})
    assert found.macs == macs
    assert found.num_params == sum(np.prod(size) for size in weights.values())


def test_sizes_that_only_running_tells(tmp_path):
    """A convolution behind NonZero, whose output size depends on the values."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["p"], to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["w", "p"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros((3, 2), np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "m.onnx")
    x = np.zeros((4, 4), np.float32)
    x[0, :3] = 1
    assert count_onnx(tmp_path / "m.onnx", {"x": x}).macs == 3 * 2 * 3


def test_what_is_not_counted_is_named(tmp_path):
    model = weighted("Einsum", ["w"], (2, 3), {"w": (3, 4)}, equation="ij,jk->ik")
    onnx.save(model, tmp_path / "m.onnx")
    found = count_onnx(tmp_path / "m.onnx", {"x": np.zeros((2, 3), np.float32)})
    assert (found.macs, found.uncounted) == (0, ("Einsum",))


def test_bad_files_and_bad_inputs(tmp_path, model):
    with pytest.raises(MissingFileError):
        read_onnx(tmp_path / "none.onnx")
    for content in (b"", b"not a model", b"\x00" * 64):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(CorruptFileError, match="not an ONNX file"):
            read_onnx(tmp_path / "bad.onnx")
    onnx.save(model(), tmp_path / "m.onnx")
    with pytest.raises(BenchError, match="cannot run"):
        count_onnx(tmp_path / "m.onnx", images(1, 4, 8, 8))


def test_quantised_weights_count_scales_do_not(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (4, 3, 1, 1), dtype=np.int8)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            onnx.helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
            onnx.helper.make_node("Conv", ["d", "wd", "b"], ["y"]),
        ],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 5, 7])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4, 5, 7])],
        [
            onnx.numpy_helper.from_array(np.float32(0.01).reshape(()), "s"),
            onnx.numpy_helper.from_array(np.int8(0).reshape(()), "z"),
            onnx.numpy_helper.from_array(weight, "w"),
            onnx.numpy_helper.from_array(np.full(4, 0.01, np.float32), "ws"),
            onnx.numpy_helper.from_array(np.zeros(4, np.int8), "wz"),
            onnx.numpy_helper.from_array(np.ones(4, np.float32), "b"),
        ],
    )
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    onnx.save(model, tmp_path / "q.onnx")
    counted = count_onnx(tmp_path / "q.onnx", {"x": rng.random((1, 3, 5, 7), dtype=np.float32)})
    assert (counted.num_params, counted.weights_bytes) == (12 + 4, 12 + 16)
    assert counted.macs == 12 * 35
    (layer,) = counted.layers
    assert (layer.name, layer.num_params, layer.weight_bytes) == ("w", 12 + 4, 12 + 16)
    assert (layer.input_bytes, layer.output_bytes) == (3 * 35, 4 * 4 * 35)
    # The float input until it is quantised, with its int8 copy; then that with the float output.
    assert counted.peak_activation_bytes == max(5 * 3 * 35, 3 * 35 + 4 * 4 * 35)


def branching(op):
    """An operation of ``op`` in one branch, which reads a value of the graph around it."""
    kind = TensorProto.FLOAT
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op if name == "then" else "Identity", reads, [f"in_{name}"])],
            name,
            [],
            [helper.make_tensor_value_info(f"in_{name}", kind, None)],
        )
        for name, reads in (("then", ["a", "a"] if op == "MatMul" else ["a"]), ("else", ["x"]))
    }
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Abs", ["x"], ["b"]),
        helper.make_node("If", ["which"], ["c"], **branches),
        helper.make_node("Add", ["b", "c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [
            helper.make_tensor_value_info("x", kind, ["n", 4]),
            helper.make_tensor_value_info("which", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(("op", "uncounted"), [("Neg", ()), ("MatMul", ("If",))])
def test_a_branch_is_named_only_where_it_hides_macs(tmp_path, op, uncounted):
    onnx.save(branching(op), tmp_path / "m.onnx")
    inputs = {"x": np.zeros((4, 4), np.float32), "which": np.array(True)}
    found = count_onnx(tmp_path / "m.onnx", inputs)
    assert (found.macs, found.uncounted) == (0, uncounted)
    # x, a, b and c: the branches read x and a, so that both live until then; and the flag.
    assert found.peak_activation_bytes == 4 * 64 + 1
