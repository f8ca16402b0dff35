import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from compactmtl.checkpoint import Checkpoint, save_checkpoint
from compactmtl.cli import app
from compactmtl.compiler import compress
from compactmtl.inspection import inspect_file, layer_of
from compactmtl.models import MODELS
from compactmtl.overparam import expand, expansion_spec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 2, 1)

    def forward(self, image):
        return {"mask": self.second(self.norm(self.first(image)).relu())}


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        net.second.weight[:, :3] = 0
        net.first.weight[5] = 0
    return net


def conv_counts(found):
    return {layer.name: (layer.zero_groups, layer.num_groups) for layer in found.layers}


def test_layer_of_counts_exact_zeros_only():
    values = np.ones((4, 3, 1, 1), np.float32)
    values[:, 1] = 0
    values[2] = 0
    row = layer_of("x", "conv2d", values)
    assert (row.zero_groups, row.num_groups, row.zero_filters, row.num_filters) == (1, 3, 1, 4)
    values[0, 1] = 1e-38
    assert layer_of("x", "conv2d", values).zero_groups == 0


@pytest.mark.parametrize("kind", ["state dict", "safetensors"])
def test_weights(kind, net, tmp_path):
    path = tmp_path / "weights.bin"
    torch.save(net.state_dict(), path) if kind == "state dict" else save_file(
        net.state_dict(), path
    )
    found = inspect_file(path)
    assert found.what.startswith("weights")
    assert conv_counts(found) == {"first": (0, 3), "second": (3, 8)}
    assert found.layers[0].zero_filters == 1
    assert found.num_params == sum(parameter.numel() for parameter in net.parameters())


def checkpoint_of(model, name):
    return Checkpoint(
        recipe={
            "name": "r",
            "model": {"name": name, "args": {"widths": [4, 4, 4, 4, 4]}},
            "data": {"name": "rooms"},
            "tasks": {"depth": {}},
        },
        tasks={"depth": {"kind": "depth", "num_channels": 1}},
        model=model.state_dict(),
        expansion=expansion_spec(model),
        epoch=3,
        phase="overparam",
        optimizer={},
        schedule={},
        history=[],
        seed=7,
    )


@pytest.mark.parametrize("name", ["segnet_s", "own.module:net"])
def test_checkpoint_of_expanded_layers(name, tmp_path):
    model = MODELS["segnet_s"]({"depth": 1}, widths=(4, 4, 4, 4, 4))
    num_params = sum(parameter.numel() for parameter in model.parameters())
    num_layers = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    expand(model, tasks=["depth"])
    save_checkpoint(tmp_path / "ckpt.pt", checkpoint_of(model, name))
    found = inspect_file(tmp_path)
    assert found.facts["seed"] == 7
    assert found.facts["finished epochs"] == 3
    assert found.tasks["depth"]["kind"] == "depth"
    if name == "segnet_s":
        assert "contracted" in found.notes[0]
        assert found.num_params == num_params
        assert len(found.layers) == num_layers
    else:
        assert "factors" in found.notes[0]
        assert found.num_params > num_params


def test_compact_folder(net, tmp_path):
    compact = compress(net, torch.rand(2, 3, 16, 16))
    compact.save(tmp_path / "model.pt2")
    found = inspect_file(tmp_path)
    assert found.what == "a compact model"
    assert found.facts["outputs"] == ["mask"]
    assert conv_counts(found)["second"][1] < 8
    assert found.num_params == compact.report.after.num_params


def test_onnx_counts_filters_and_groups_in_the_layout_of_each_op(tmp_path):
    linear = np.ones((3, 4), np.float32)  # (in, out)
    linear[1] = 0
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(linear, "w")],
    )
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    found = inspect_file(tmp_path / "m.onnx")
    row = found.layers[0]
    assert (row.zero_groups, row.num_groups, row.zero_filters, row.num_filters) == (1, 3, 0, 4)
    assert found.facts["inputs"] == {"x": ["batch", 3]}


def test_verb_prints_a_table_and_the_same_as_json(net, tmp_path, capfd):
    path = tmp_path / "weights.pt"
    torch.save(net.state_dict(), path)
    assert app.run(["inspect", str(path)]) == 0
    table = capfd.readouterr().out
    assert "3 of 8" in table
    assert "total" in table
    assert app.run(["inspect", str(path), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["totals"]["zero_groups"] == 3
    assert [layer["name"] for layer in document["layers"]] == ["first", "second"]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("absent.pt", None, 10),
        ("model.onnx", b"not onnx", 11),
        ("model.onnx", b"", 11),
        ("ckpt.pt", b"PK\x03\x04 cut", 11),
        ("model.pt2", b"PK\x03\x04 cut", 11),
    ],
)
def test_bad_files_are_one_line_and_a_code(name, content, code, tmp_path, capfd):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert app.run(["inspect", str(tmp_path / name)]) == code
    assert capfd.readouterr().err.startswith("error: ")


def test_a_file_that_runs_code_is_refused(tmp_path, capfd):
    torch.save({"weights": torch.zeros(1), "bad": Net()}, tmp_path / "w.pt")
    assert app.run(["inspect", str(tmp_path / "w.pt")]) == 3
    assert "error: " in capfd.readouterr().err


def test_an_empty_folder_is_named(tmp_path, capfd):
    assert app.run(["inspect", str(tmp_path)]) == 10
    assert "neither model.pt2 nor ckpt.pt" in capfd.readouterr().err
