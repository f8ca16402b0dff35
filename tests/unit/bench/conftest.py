"""ONNX files written by hand, so that the bench is tested apart from the exporter."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compactmtl.files import sha256


def make_model(width=4, *, classes=2, factor=1.0, size=("height", "width")):
    """Conv 3x3 to ``width`` channels, relu, conv 1x1 to ``classes``; output ``seg``."""
    generator = np.random.default_rng(0)
    weights = {
        "first.weight": generator.normal(size=(width, 3, 3, 3)) * factor,
        "first.bias": np.zeros(width),
        "head.weight": generator.normal(size=(classes, width, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["image", "first.weight", "first.bias"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "head.weight"], ["seg"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, *size])],
        [helper.make_tensor_value_info("seg", TensorProto.FLOAT, ["batch", classes, *size])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def add(folder, name, model, which, parent=None, kind="onnx"):
    onnx.save(model, folder / name)
    sidecar = {
        "format_version": 1,
        "artefact": name,
        "kind": kind,
        "which": which,
        "sha256": sha256(folder / name),
        "parent": {"file": "model.pt2", "sha256": parent or sha256(folder / "model.pt2")},
    }
    (folder / f"{name}.json").write_text(json.dumps(sidecar))


@pytest.fixture(scope="session")
def model():
    return make_model


@pytest.fixture(scope="session")
def add_artefact():
    return add


@pytest.fixture
def folder(tmp_path):
    """A compact folder: dense twin, compact model, and a stranger."""
    (tmp_path / "model.pt2").write_bytes(b"the compact model")
    add(tmp_path, "dense.onnx", make_model(32), "dense")
    add(tmp_path, "model.onnx", make_model(4), "compact")
    add(tmp_path, "old.onnx", make_model(8), "compact", parent="0" * 64)
    images = np.random.default_rng(0).random((8, 3, 24, 32), dtype=np.float32)
    np.savez(tmp_path / "inputs.npz", image=images, source="rooms, val")
    return tmp_path
