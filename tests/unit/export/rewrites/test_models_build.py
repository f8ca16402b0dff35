"""Every network of ``models/`` becomes an engine, at fixed and at free sizes."""

from functools import partial

import onnx
import pytest
import torch

from compactmtl.board.bindings import load_bindings
from compactmtl.board.build import build
from compactmtl.board.onnx_file import read_onnx
from compactmtl.board.profile import make_profile
from compactmtl.board.recipe import BuildRecipe
from compactmtl.export.onnx_convert import convert
from compactmtl.export.options import OPSET
from compactmtl.models.deeplab import DeepLab
from compactmtl.models.segnet import SegNet

pytest.importorskip("tensorrt_rtx", reason='pip install "compactmtl[rtx]"')
TASKS = {"seg": 5, "depth": 1}
SHAPE = (2, 3, 45, 70)  # no stage of the pools divides it
NETWORKS = {
    "segnet": partial(SegNet, TASKS, (4, 4, 6, 6)),
    "deeplab-18": partial(DeepLab, TASKS, depth=18, width=0.125, head_channels=8),
    "deeplab-50": partial(DeepLab, TASKS, depth=50, width=0.125, head_channels=8),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dynamic", [True, False])
def test_it_builds(capture_program, make_interface, tmp_path, name, dynamic):
    program = capture_program(NETWORKS[name](), torch.rand(SHAPE), dynamic=dynamic)
    model = convert(
        program, make_interface(["image"], list(TASKS)), opset=OPSET, operators="tensorrt"
    )
    operators = {node.op_type for node in model.graph.node}
    # Pools that hand no indices on stay pools.
    assert ("MaxPool" in operators, "Greater" in operators) == (
        (False, True) if name == "segnet" else (True, False)
    )
    onnx.save(model, tmp_path / "model.trt.onnx")
    source = read_onnx(tmp_path / "model.trt.onnx")
    ranges = {"batch": (1, 2, 4), "size": ((32, 32), (45, 70), (96, 96))} if dynamic else {}
    profile = make_profile(
        source.inputs, **{"batch": None, "size": None, **ranges}, example={"image": SHAPE}
    )
    assert len(build(load_bindings("rtx"), source, BuildRecipe(), profile).plan) > 10_000
