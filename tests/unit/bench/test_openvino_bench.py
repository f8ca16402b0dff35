"""OpenVINO beside ONNX Runtime: the same networks, the same counts, and their ratios."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compactmtl.bench import bench
from compactmtl.bench.cost import count
from compactmtl.errors import BenchError, CorruptFileError
from compactmtl.export.openvino_model import read_onnx
from compactmtl.export.session import open_session
from compactmtl.files import sha256

openvino = pytest.importorskip("openvino")
QUICK = {"seconds": 0.0, "rounds": 3}


def save_ir(model, path):
    openvino.save_model(read_onnx(model.SerializeToString()), path, compress_to_fp16=False)


def test_ratios_within_each_runtime_and_of_the_runtimes(tmp_path, model):
    for name, width in (("dense", 32), ("compact", 4)):
        onnx.save(model(width), tmp_path / f"{name}.onnx")
        save_ir(model(width), tmp_path / f"{name}.xml")
    files = [tmp_path / f"{name}.{end}" for end in ("onnx", "xml") for name in ("dense", "compact")]
    record = bench(files, size=(24, 32), **QUICK)
    within = ["dense.onnx/compact.onnx", "dense.xml/compact.xml"]
    assert list(record.ratios) == [*within, "dense.onnx/dense.xml"]
    by_file = record.candidates
    assert "f32" in by_file["compact.xml"].runtime
    for name in ("dense", "compact"):
        one, other = by_file[f"{name}.onnx"], by_file[f"{name}.xml"]
        assert (one.macs, one.num_params) == (other.macs, other.num_params)
        assert other.uncounted == []
    compact = by_file["compact.xml"]
    assert compact.parts == {"compact.bin": sha256(tmp_path / "compact.bin")}
    assert compact.size_bytes > (tmp_path / "compact.bin").stat().st_size


def weighted():
    """Every weighted operation once: grouped, transposed, both, a matrix product."""
    generator = np.random.default_rng(0)
    shapes = {"a": (8, 2, 3, 3), "b": (8, 5, 2, 2), "c": (6, 3, 2, 2), "d": (7, 4)}
    weights = [
        numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["x"], group=2, pads=[1] * 4),
        helper.make_node("ConvTranspose", ["x", "b"], ["y"], strides=[2, 2]),
        helper.make_node("Slice", ["x", "start", "end", "axis"], ["six"]),
        helper.make_node("ConvTranspose", ["six", "c"], ["z"], group=2, strides=[2, 2]),
        helper.make_node("MatMul", ["image", "d"], ["w"]),
    ]
    weights += [
        numpy_helper.from_array(np.array([value]), name)
        for name, value in (("start", 0), ("end", 6), ("axis", 1))
    ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "yzw"]
    size = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 4, 6, 7])
    graph = helper.make_graph(nodes, "net", [size], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_it_counts_what_the_onnx_file_counts(tmp_path):
    onnx.save(weighted(), tmp_path / "m.onnx")
    save_ir(weighted(), tmp_path / "m.xml")
    inputs = {"image": np.ones((2, 4, 6, 7), np.float32)}
    want = count(tmp_path / "m.onnx", inputs)
    assert want.macs == 2 * 42 * (8 * 2 * 9 + 8 * 5 * 4 + 6 * 3 * 4) + 2 * 4 * 6 * 4 * 7
    found = count(tmp_path / "m.xml", inputs)
    for field in ("macs", "flops", "num_params", "weights_bytes"):
        assert getattr(found, field) == getattr(want, field), field
    layers = [sorted(each.layers, key=lambda layer: layer.name) for each in (found, want)]
    for one, other in zip(*layers, strict=True):
        assert replace(one, op="", node="") == replace(other, op="", node="")


def test_it_computes_on_the_inputs_it_is_given(tmp_path, model):
    onnx.save(model(), tmp_path / "m.onnx")
    save_ir(model(), tmp_path / "m.xml")
    one, other = (open_session(tmp_path / f"m.{e}", threads=1) for e in ("onnx", "xml"))
    assert [(value.name, value.dtype) for value in other.inputs] == [("image", "float32")]
    assert other.inputs[0].shape == ("?", 3, "?", "?")
    for shape in ((1, 3, 8, 8), (2, 3, 5, 9)):
        image = {"image": np.random.default_rng(1).random(shape, dtype=np.float32)}
        np.testing.assert_allclose(other(image)["seg"], one(image)["seg"], atol=1e-5)
    with pytest.raises(BenchError, match="OpenVINO cannot run"):
        other({"image": np.ones((1, 4, 8, 8), np.float32)})
    with pytest.raises(BenchError, match="OpenVINO cannot shape"):
        count(tmp_path / "m.xml", {"image": np.ones((1, 4, 8, 8), np.float32)})


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "m.xml").write_bytes(b"<?xml nonsense")
    (tmp_path / "m.bin").write_bytes(b"")
    with pytest.raises(CorruptFileError, match="OpenVINO cannot load"):
        open_session(tmp_path / "m.xml", threads=1)
