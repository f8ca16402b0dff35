"""Engines built from what is lowered: by TensorRT-RTX, without a GPU."""

from dataclasses import replace

import onnx
import pytest
import torch
import torch.nn.functional as F
from onnxruntime.quantization import QDQQuantizer, QuantType
from torch import nn

from compactmtl.errors import ExportError
from compactmtl.export import find_target
from compactmtl.export.base import make_job
from compactmtl.export.cases import random_inputs
from compactmtl.export.onnx import OnnxExporter
from compactmtl.export.onnx_convert import convert
from compactmtl.export.options import Options
from compactmtl.export.precision.int8 import Int8
from compactmtl.export.precision.order import in_order
from compactmtl.export.sidecar import Parent
from compactmtl.export.stored import Stored
from compactmtl.files import sha256

pytest.importorskip("tensorrt_rtx", reason='pip install "compactmtl[rtx]"')

PARENT = Parent(file="model.pt2", sha256="0" * 64)
BOUNDS = {"fp16": 0.05, "int8": 0.3}
"""Wide, because maxima of windows move, and unpooling puts values elsewhere then."""


class Network(nn.Module):
    """A skip, a depthwise convolution, pools that hand indices on, and unpools."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.heads = nn.ModuleDict({"seg": nn.Conv2d(16, 5, 1), "depth": nn.Conv2d(16, 1, 1)})

    def forward(self, image):
        x = F.relu(self.first(image))
        x = x + F.relu(self.depthwise(x))
        x, indices = F.max_pool2d(x, 2, return_indices=True)
        x = F.max_unpool2d(F.relu(self.second(x)), indices, 2)
        return {name: head(x) for name, head in self.heads.items()}


@pytest.fixture(scope="module")
def job(tmp_path_factory, capture_program, make_interface):
    torch.manual_seed(2)
    program = capture_program(Network(), torch.rand(2, 3, 32, 48))
    interface = make_interface(["image"], ["seg", "depth"])
    generator = torch.Generator().manual_seed(5)
    return make_job(
        program,
        interface,
        tmp_path_factory.mktemp("engines") / "model.engine",
        stored=random_inputs(program, interface),
        parent=PARENT,
        which="compact",
        calibration=Stored(
            {"image": torch.rand((4, 3, 32, 48), generator=generator).numpy()}, "photographs"
        ),
    )


def build(job, source):
    parent = Parent(file=source.name, sha256=sha256(source))
    return find_target("tensorrt-rtx").export(replace(job, source=source, parent=parent))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_is_lowered_builds(job, precision):
    source = job.path.with_name(f"model.{precision}.trt.onnx")
    options = Options(precision=precision)
    job = replace(job, options=options, path=source.with_name(f"model.{precision}.rtx.engine"))
    written = OnnxExporter("tensorrt").export(replace(job, path=source))
    found = {name: parity.rel_rms for name, parity in written.verified.per_task.items()}
    assert max(found.values()) < BOUNDS[precision]
    sidecar = build(job, source)
    assert (sidecar.precision, sidecar.verified.status) == (precision, "built only")
    assert job.path.stat().st_size > 0


@pytest.mark.parametrize(
    "wrong", [{"ActivationSymmetric": False}, {"QuantizeBias": True}], ids=["zero point", "bias"]
)
def test_what_the_recipe_leaves_out_does_not_build(job, wrong):
    """Why the recipe is as it is: ONNX Runtime's own defaults are refused."""
    model = convert(job.program, job.interface, opset=20, operators="tensorrt")
    int8 = Int8(model, job.calibration, "tensorrt")
    options = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    quantizer = QDQQuantizer(
        int8.model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=int8.ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv"],
        extra_options=options | wrong,
    )
    quantizer.quantize_model()
    source = job.path.with_name("wrong.trt.onnx")
    onnx.save(in_order(quantizer.model.model), source)
    sizes = Options(precision="int8", batch=(1, 1, 2), size=((32, 48),) * 3)
    with pytest.raises(ExportError, match="TensorRT"):
        build(replace(job, options=sizes), source)
