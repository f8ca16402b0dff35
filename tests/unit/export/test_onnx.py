import json
import logging

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from compactmtl.errors import CorruptFileError, ExportError, MissingFileError, UsageError
from compactmtl.export import onnx_convert, onnx_write
from compactmtl.export.base import make_job
from compactmtl.export.check import make_check
from compactmtl.export.onnx import OnnxExporter
from compactmtl.export.onnx_convert import convert
from compactmtl.export.onnx_run import verify
from compactmtl.export.sidecar import Parent, read_sidecar
from compactmtl.export.stored import Stored
from compactmtl.files import sha256

PARENT = Parent(file="model.pt2", sha256="0" * 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, program, interface, stored):
    folder = tmp_path_factory.mktemp("export")
    OnnxExporter().export(
        make_job(
            program, interface, folder / "model.onnx", stored=stored, parent=PARENT, which="compact"
        )
    )
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return onnx.load(folder / "model.onnx")


def test_one_file_and_its_sidecar(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model.onnx.json"]


def test_names_and_dimensions(model):
    found = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert found == {
        "image": ["batch", 3, "height", "width"],
        "seg": ["batch", 5, "height", "width"],
        "depth": ["batch", 1, "height", "width"],
    }
    assert [entry.version for entry in model.opset_import] == [20]
    onnx.checker.check_model(model, full_check=True)


def test_weights_keep_their_names_and_batch_norm_is_folded(model):
    names = {tensor.name for tensor in model.graph.initializer}
    assert {"first.weight", "second.weight", "heads.seg.weight"} <= names
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_nothing_of_this_machine_is_in_the_file(folder):
    content = (folder / "model.onnx").read_bytes()
    for trace in (b"site-packages", b".py", b"stack_trace", b"/home", b"/tmp"):
        assert trace not in content


@pytest.mark.parametrize("shape", [(1, 3, 48, 64), (5, 3, 33, 70)])
def test_it_runs_at_sizes_it_was_not_captured_at(folder, network, shape):
    image = torch.rand(shape)
    outputs = OnnxExporter().load(folder / "model.onnx")({"image": image.numpy()})
    with torch.no_grad():
        expected = network(image)
    assert list(outputs) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value.numpy(), rtol=0, atol=1e-5)


def test_the_sidecar_says_what_was_checked(folder):
    sidecar = read_sidecar(folder / "model.onnx")
    assert sidecar.sha256 == sha256(folder / "model.onnx")
    assert (sidecar.artefact, sidecar.kind, sidecar.which) == ("model.onnx", "onnx", "compact")
    assert sidecar.parent == PARENT
    assert sidecar.inputs[0].shape == ["batch", 3, "height", "width"]
    assert (sidecar.inputs[0].layout, sidecar.inputs[0].range) == ("NCHW", (0.0, 1.0))
    assert sidecar.outputs[0].task == {"kind": "segmentation"}
    assert sidecar.verified.status == "ran"
    assert sidecar.verified.runtime == f"onnxruntime {ort.__version__}"
    assert [case["shapes"]["image"] for case in sidecar.verified.cases] == [
        [8, 3, 48, 64],
        [1, 3, 48, 64],
        [2, 3, 16, 32],
    ]
    for parity in sidecar.verified.per_task.values():
        assert 0 <= parity.max_rel_error <= parity.bound < 1e-5
    per_sample = 8 * 24 * 32 + 6 * 12 * 16
    small = 8 * 8 * 16 + 6 * 4 * 8
    assert sidecar.verified.selections["num"] == 9 * per_sample + 2 * small
    json.loads((folder / "model.onnx.json").read_text())


def perturb(model, name, amount=1e-3):
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] += amount
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    return model


@pytest.mark.parametrize(
    ("weight", "task"),
    [("first.weight", "seg"), ("heads.depth.weight", "depth")],
)
def test_one_wrong_weight_is_found_and_nothing_is_written(
    monkeypatch, tmp_path, model, program, interface, stored, weight, task
):
    def wrong(*args, **kwargs):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return perturb(copy, weight)

    path = tmp_path / "model.onnx"
    path.write_bytes(b"earlier")
    monkeypatch.setattr(onnx_write, "convert", wrong)
    with pytest.raises(ExportError, match=r"near-tie|differs from torch: relative") as error:
        OnnxExporter().export(
            make_job(program, interface, path, stored=stored, parent=PARENT, which="compact")
        )
    if weight == "heads.depth.weight":
        assert f"`{task}`" in error.value.message
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == b"earlier"


def test_a_wrong_pool_index_is_found(model, program, interface, stored):
    wrong = onnx.ModelProto()
    wrong.CopyFrom(model)
    node = next(node for node in wrong.graph.node if node.op_type == "Not")
    node.op_type = "Identity"  # maxima of upper rows are looked for in the lower one
    check = make_check(program, interface, stored)
    with pytest.raises(ExportError, match=r"picked index|indices|near-tie|cannot be compared"):
        verify(wrong, check)


class Awkward(nn.Module):
    """Tasks called like operations, one value under two names, an input handed through."""

    def forward(self, image):
        x = torch.relu(image * 2)
        return {
            "relu": x[:, :1] + 1,
            "add": x,
            "twin": x,
            "same": image,
            "half": x[:, :, ::2, ::2],
            "classes": x.argmax(1),
        }


def test_awkward_outputs_keep_their_names(tmp_path, capture_program, make_interface):
    names = ["relu", "add", "twin", "same", "half", "classes"]
    image = torch.rand(2, 3, 16, 24)
    program = capture_program(Awkward(), image)
    interface = make_interface(["image"], names)
    stored = Stored({"image": torch.rand(8, 3, 16, 24).numpy()}, "random")
    sidecar = OnnxExporter().export(
        make_job(
            program, interface, tmp_path / "a.onnx", stored=stored, parent=PARENT, which="dense"
        )
    )
    shapes = {output.name: output.shape for output in sidecar.outputs}
    assert list(shapes) == names
    assert shapes["classes"] == ["batch", "height", "width"]
    assert all("height" in str(size) for size in (shapes["half"][2], shapes["add"][2]))
    got = OnnxExporter().load(tmp_path / "a.onnx")({"image": image.numpy()})
    for name, value in Awkward()(image).items():
        np.testing.assert_array_equal(got[name], value.numpy())


def test_an_unknown_operator_set_is_refused(program, interface):
    with pytest.raises(UsageError, match=r"opset \(=17\) must be one of 18 to 23"):
        convert(program, interface, opset=17)


def test_over_two_gigabytes_is_refused(monkeypatch, program, interface):
    monkeypatch.setattr(onnx_convert, "MAX_BYTES", 100)
    with pytest.raises(ExportError, match="2 GiB"):
        convert(program, interface, opset=20)


class Untranslatable(nn.Module):
    def forward(self, image):
        return {"y": torch.special.bessel_j0(image)}


def test_what_onnx_cannot_say_is_named_on_one_line(capture_program, make_interface):
    program = capture_program(Untranslatable(), torch.rand(2, 3, 8, 8))
    with pytest.raises(ExportError, match="bessel_j0") as error:
        convert(program, make_interface(["image"], ["y"]), opset=20)
    assert "\n" not in error.value.message


def test_another_operator_set_quietly_and_with_the_loggers_left_alone(program, interface, capfd):
    logging.getLogger("onnxscript").setLevel(logging.INFO)
    try:
        assert convert(program, interface, opset=18).opset_import[0].version == 18
        assert logging.getLogger("onnxscript").level == logging.INFO
    finally:
        logging.getLogger("onnxscript").setLevel(logging.NOTSET)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_loading_what_is_not_there_or_not_onnx(tmp_path):
    with pytest.raises(MissingFileError):
        OnnxExporter().load(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(CorruptFileError, match=r"bad\.onnx"):
        OnnxExporter().load(tmp_path / "bad.onnx")
