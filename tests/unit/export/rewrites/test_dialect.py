"""Refused by name before any build, and refused by TensorRT-RTX itself; all else builds."""

import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import helper
from torch import nn

from compactmtl.board.bindings import load_bindings
from compactmtl.board.build import build
from compactmtl.board.logger import process_logger
from compactmtl.board.onnx_file import read_onnx
from compactmtl.board.parse import RefusedNodesError, parse
from compactmtl.board.profile import make_profile
from compactmtl.board.recipe import BuildRecipe
from compactmtl.errors import ExportError
from compactmtl.export import onnx_convert as target
from compactmtl.export.onnx_convert import convert
from compactmtl.export.options import OPSET
from compactmtl.export.rewrites.dialect import check_dialect


def unpool(x, **pool):
    values, indices = F.max_pool2d(x, return_indices=True, **pool)
    return torch.ops.aten.max_unpool2d(values, indices, list(x.shape[-2:]))


REFUSED = {
    "ScatterElements": lambda x: torch.zeros_like(x).scatter_add(2, (x > 0).long(), x),
    "ScatterND": lambda x: x.index_add(1, torch.tensor([0, 0, 1]), x),
    "NonZero": lambda x: (x > 0).nonzero(),
    "DFT": lambda x: torch.fft.rfft(x).abs(),
    "Det": lambda x: torch.linalg.det(x[..., :3, :3]),
    "Resize": lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
    "MaxUnpool": lambda x: unpool(x, kernel_size=3, stride=2),
    "MaxPool": lambda x: F.max_pool2d(x, 3, ceil_mode=True, return_indices=True)[1],
}
TAKEN = {
    "tiles": lambda x: unpool(x, kernel_size=2),
    "apart": lambda x: unpool(x, kernel_size=2, stride=3),
    "padded": lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[1],
    "antialias": lambda x: F.interpolate(x[..., :9, :9], (5, 5), mode="bicubic", antialias=True),
    "no indices": lambda x: F.max_pool2d(x, 3, 2, 1),
}


def quickly(*names, of):
    return [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in of]


def program_of(function, capture_program, **more):
    class Net(nn.Module):
        def forward(self, image):
            return {"y": function(image)}

    return capture_program(Net(), torch.rand(2, 3, 16, 20), **more)


@pytest.fixture
def refusals_of(capture_program, make_interface, monkeypatch):
    """Return the refused model and what is refused in it; nothing stops the conversion."""

    def of(function):
        monkeypatch.setattr(target, "refuse", lambda found: None)
        program = program_of(function, capture_program)
        model = convert(
            program, make_interface(["image"], ["y"]), opset=OPSET, operators="tensorrt"
        )
        return model, check_dialect(model)

    return of


@pytest.mark.parametrize("operator", quickly("MaxUnpool", "Resize", of=REFUSED))
def test_refused_here_and_there(refusals_of, tmp_path, operator):
    model, refusals = refusals_of(REFUSED[operator])
    assert {each.operator for each in refusals} == {operator}
    assert {each.node for each in refusals} <= {node.name for node in model.graph.node}
    assert all(each.advice for each in refusals)
    pytest.importorskip("tensorrt_rtx", reason='pip install "compactmtl[rtx]"')
    onnx.save(model, tmp_path / "m.onnx")
    bindings = load_bindings("rtx")
    network = bindings.module.Builder(process_logger(bindings)).create_network(0)
    source = read_onnx(tmp_path / "m.onnx")
    with pytest.raises(RefusedNodesError) as error:
        parse(bindings, network, source)
    assert len(error.value.refusals) == len(refusals)


@pytest.mark.parametrize("name", quickly("tiles", of=TAKEN))
def test_taken_here_and_built_there(capture_program, make_interface, tmp_path, name):
    program = program_of(TAKEN[name], capture_program)
    model = convert(program, make_interface(["image"], ["y"]), opset=OPSET, operators="tensorrt")
    pytest.importorskip("tensorrt_rtx", reason='pip install "compactmtl[rtx]"')
    onnx.save(model, tmp_path / "m.onnx")
    source = read_onnx(tmp_path / "m.onnx")
    profile = make_profile(
        source.inputs, batch=(1, 2, 4), size=None, example={"image": (2, 3, 16, 20)}
    )
    assert len(build(load_bindings("rtx"), source, BuildRecipe(), profile).plan) > 1000


def test_all_are_named_at_once(capture_program, make_interface):
    def several(x):
        return REFUSED["Det"](x) + REFUSED["MaxUnpool"](x).sum() + REFUSED["ScatterND"](x).sum()

    program = program_of(several, capture_program)
    with pytest.raises(ExportError, match=r"TensorRT takes none of these") as error:
        convert(program, make_interface(["image"], ["y"]), opset=OPSET, operators="tensorrt")
    for operator in ("Det", "MaxUnpool", "ScatterND"):
        assert f"{operator} `" in error.value.message
    assert "determinants" in error.value.hint
    assert "ceil_mode" in error.value.hint
    assert "\n" not in error.value.message + error.value.hint


def test_branches_and_foreign_domains_are_looked_into(program, interface):
    model = convert(program, interface, opset=OPSET)  # holds MaxUnpool, in a branch
    node = helper.make_node("Gelu", ["image"], ["extra"], name="fast", domain="com.microsoft")
    model.graph.node.append(node)
    found = check_dialect(model)
    assert {each.operator for each in found} == {"MaxUnpool", "Gelu"}
    assert found[-1] == ("fast", "Gelu", "no plugin has this operator; plugins are not loaded")
