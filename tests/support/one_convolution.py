"""An exported file as ``compactmtl export`` leaves it, made by hand: one convolution, 1 x 1."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = [2, 3, 5, 7]


def write_exported(folder: Path) -> Path:
    """Write ``model.onnx``, its sidecar and ``reference.npz``, which numpy computes in float64."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    image = rng.random(SHAPE, dtype=np.float32)
    exact = np.einsum("oi,nihw->nohw", kernel[:, :, 0, 0].astype(float), image.astype(float))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["seg"])],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("seg", TensorProto.FLOAT, list(exact.shape))],
        [numpy_helper.from_array(kernel, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "model.onnx"
    onnx.save(model, path)
    reference = {"input.image": image, "output.seg": exact.astype(np.float32)}
    np.savez(folder / "reference.npz", **reference)
    parity = {"max_rel_error": 1e-7, "rel_rms": 1e-7, "bound": 4.8e-7}
    sidecar = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "precision": "fp32",
        "inputs": [{"name": "image", "shape": SHAPE}],
        "verified": {"per_task": {"seg": parity}, "selections": None},
    }
    (folder / "model.onnx.json").write_text(json.dumps(sidecar))
    return path
