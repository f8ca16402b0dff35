"""Small ONNX files made by hand: a board has no torch."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compactmtl.board.files import read_bytes, sha256


def save(path, nodes, *, shape=("batch", 3, "height", "width"), weights=(), outputs=("y",)):
    """Save a graph from ``image`` to ``outputs``."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


def conv(path, **options):
    """Save one convolution of 3 to 4 channels."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    node = helper.make_node("Conv", ["image", "w"], ["y"], name="conv", pads=[1, 1, 1, 1])
    return save(path, [node], weights=[("w", weight)], **options)


def describe(path, shape=(8, 3, 16, 24)):
    """Write the sidecar that ``compactmtl export`` writes beside an ONNX file."""
    document = {
        "format_version": 1,
        "kind": "onnx",
        "precision": "fp32",
        "sha256": sha256(read_bytes(path)),
        "parent": {"file": "model.pt2", "sha256": "0" * 64},
        "verified": {"status": "ran", "cases": [{"shapes": {"image": list(shape)}}]},
        "versions": {"compactmtl": "0.1.0"},
    }
    path.with_name(path.name + ".json").write_text(json.dumps(document))
    return path


@pytest.fixture
def source(tmp_path):
    """A convolution with its sidecar."""
    return describe(conv(tmp_path / "model.trt.onnx"))


@pytest.fixture
def make_onnx():
    return save


@pytest.fixture
def make_conv():
    return conv


@pytest.fixture
def make_sidecar():
    return describe
