import logging
from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import nn

from compactmtl.errors import ExportError
from compactmtl.export.base import make_job
from compactmtl.export.cases import random_inputs
from compactmtl.export.onnx import OnnxExporter
from compactmtl.export.onnx_convert import convert
from compactmtl.export.onnx_run import Session
from compactmtl.export.options import Options
from compactmtl.export.precision.int8 import Int8
from compactmtl.export.precision.layers import constants
from compactmtl.export.sidecar import Parent, read_sidecar
from compactmtl.export.stored import Stored

PARENT = Parent(file="model.pt2", sha256="0" * 64)


class Plain(nn.Module):
    """A skip, a depthwise and a strided convolution, two tasks; no pool that hands indices on."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.heads = nn.ModuleDict({"seg": nn.Conv2d(12, 5, 1), "depth": nn.Conv2d(12, 1, 1)})

    def forward(self, image):
        x = F.relu(self.first(image))
        x = F.relu(self.down(x + F.relu(self.depthwise(x))))
        return {
            name: F.interpolate(head(x), scale_factor=2.0, mode="bilinear")
            for name, head in self.heads.items()
        }


@pytest.fixture(scope="module")
def plain(capture_program, make_interface):
    torch.manual_seed(1)
    program = capture_program(Plain(), torch.rand(2, 3, 32, 48))
    interface = make_interface(["image"], ["seg", "depth"])
    return program, interface, random_inputs(program, interface)


@pytest.fixture(scope="module")
def model(plain):
    return convert(*plain[:2], opset=20)


@pytest.fixture(scope="module")
def samples():
    generator = np.random.default_rng(0)
    return Stored({"image": generator.random((12, 3, 32, 48), dtype=np.float32)}, "photographs")


@pytest.fixture(scope="module", params=["onnx", "tensorrt"])
def either(request, model, samples):
    return Int8(model, samples, request.param)


@pytest.fixture(scope="module")
def int8(model, samples):
    return Int8(model, samples, "tensorrt")


@pytest.fixture(scope="module")
def for_cpu(model, samples):
    return Int8(model, samples, "onnx")


@pytest.fixture(scope="module")
def quantised(int8):
    return int8.build(())


def rms(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def readers(model):
    """Return who reads each value."""
    found = {}
    for node in model.graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def test_only_what_tensorrt_takes(quantised):
    onnx.checker.check_model(quantised, full_check=True)
    values = constants(quantised)
    zero_points = [
        values[node.input[2]]
        for node in quantised.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]
    assert len(zero_points) >= 10
    for value in zero_points:
        assert value.dtype == np.int8
        assert not value.any()
    for node in quantised.graph.node:
        if node.op_type == "Conv":
            assert values[node.input[2]].dtype == np.float32  # the bias
    assert {entry.domain for entry in quantised.opset_import} == {""}


def test_weights_have_a_scale_per_channel(either):
    quantised = either.build(())
    values, by_output = constants(quantised), {n.output[0]: n for n in quantised.graph.node}
    found = 0
    for node in quantised.graph.node:
        if node.op_type == "Conv":
            weight = by_output[node.input[1]]
            assert weight.op_type == "DequantizeLinear"
            assert values[weight.input[0]].dtype == np.int8
            assert values[weight.input[1]].shape == values[weight.input[0]].shape[:1]
            found += 1
    assert found == len(either.layers) == 5


def test_ranges_cover_the_calibration_data(model, quantised, samples):
    """Every value that a convolution reads lies within 127 steps, and the largest fills them."""
    values, after = constants(quantised), readers(quantised)
    reads = sorted({node.input[0] for node in model.graph.node if node.op_type == "Conv"})
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in reads
        if name != "image"
    )
    seen = Session(probe.SerializeToString(), "probe")(samples.arrays) | dict(samples.arrays)
    for name in reads:
        (node,) = (each for each in after[name] if each.op_type == "QuantizeLinear")
        steps = np.abs(seen[name]).max() / values[node.input[1]]
        assert steps == pytest.approx(127, rel=1e-4)


def test_it_is_what_quantize_static_makes_of_the_recipe(tmp_path, model, quantised, samples):
    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter({"image": image[None]} for image in samples.arrays["image"])

        def get_next(self):
            return next(self.rest, None)

    logging.getLogger().addHandler(handler := logging.NullHandler())
    onnx.save(model, tmp_path / "fp32.onnx")  # given a model, it would take the weights out of it
    try:
        quantize_static(
            tmp_path / "fp32.onnx",
            tmp_path / "q.onnx",
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )
    finally:
        logging.getLogger().removeHandler(handler)
    theirs, ours = constants(onnx.load(tmp_path / "q.onnx")), constants(quantised)
    assert theirs.keys() == ours.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value)


def kernels(model, folder):
    """Return what ONNX Runtime makes of a model: how often each operator is in it."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(options.optimized_model_filepath)
    return Counter(node.op_type for node in optimised.graph.node)


def test_onnx_runtime_stays_in_8_bits_between_layers(tmp_path, for_cpu, quantised):
    """One conversion on the way in, one on the way out of each task; ReLUs are in the kernels."""
    counts = kernels(for_cpu.build(()), tmp_path)
    assert counts["QLinearConv"] == 5
    assert counts["QLinearAdd"] == 1
    assert counts["QuantizeLinear"] == 1
    assert counts["DequantizeLinear"] == 2
    assert not {"Conv", "FusedConv", "Relu", "Add"} & set(counts)
    # What TensorRT needs does not do that: this is why there are two recipes.
    assert kernels(quantised, tmp_path)["DequantizeLinear"] > 4


def test_weights_of_7_bits_cannot_overflow_16(for_cpu):
    """Two products are added in 16 bits: 2 x 255 x 64 = 32640 fits, with 127 it does not."""
    values = constants(for_cpu.build(()))
    largest = [
        int(np.abs(value.astype(int)).max())
        for name, value in values.items()
        if name.endswith(".weight_quantized")
    ]
    assert len(largest) == 5
    assert max(largest) <= 64
    assert 2 * 255 * max(largest) <= 2**15 - 1 < 2 * 255 * 127


def test_the_same_samples_give_the_same_file(model, samples, quantised):
    again = Int8(model, samples, "tensorrt").build(())
    assert again.SerializeToString(deterministic=True) == quantised.SerializeToString(
        deterministic=True
    )


def test_what_a_kept_layer_makes_is_rounded_by_nobody(for_cpu, model):
    """Its ReLU is in fp32, too; the next layer that is quantised rounds what that makes."""
    (node,) = (node for node, name in for_cpu.layers.items() if name == "depthwise")

    def reads(built):
        (conv,) = (each for each in built.graph.node if each.name == node)
        return [each.op_type for each in readers(built)[conv.output[0]]]

    assert reads(model) == reads(for_cpu.build([node])) == ["Relu"]
    assert reads(for_cpu.build(())) == ["QuantizeLinear"]


def test_kept_layers_are_not_touched(model, either, samples):
    int8 = either
    all_but = [node for node, name in int8.layers.items() if name != "down"]
    values = constants(int8.build(all_but))
    assert "down.weight_quantized" in values
    assert {f"{name}.weight" for name in int8.layers.values()} - set(values) == {"down.weight"}
    whole = Session(int8.build(list(int8.layers)).SerializeToString(), "kept")(samples.arrays)
    want = Session(model.SerializeToString(), "fp32")(samples.arrays)
    for name, value in want.items():
        np.testing.assert_array_equal(whole[name], value)


def test_nothing_is_left_behind_and_nothing_is_said(
    tmp_path, monkeypatch, model, samples, capfd, caplog
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    handlers = list(logging.getLogger().handlers)
    Int8(model, samples, "onnx").build(())
    assert list(tmp_path.iterdir()) == []
    assert logging.getLogger().handlers == handlers
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def export(plain, path, calibration, **options):
    program, interface, stored = plain
    job = make_job(
        program,
        interface,
        path,
        stored=stored,
        parent=PARENT,
        which="compact",
        options=Options(precision="int8", **options),
        calibration=calibration,
    )
    return OnnxExporter().export(job)


def test_export_says_how_it_was_calibrated(tmp_path, plain, samples):
    path = tmp_path / "model.int8.onnx"
    sidecar = export(plain, path, samples)
    assert read_sidecar(path) == sidecar
    assert sidecar.precision == "int8"
    assert sidecar.lowering.calibration.model_dump() == {"source": "photographs", "num": 12}
    assert sidecar.lowering.num_layers == 5
    for parity in sidecar.verified.per_task.values():
        assert 1e-4 < parity.rel_rms < 0.05  # an 8-bit step is 1/127 of the largest value


class Pooling(nn.Module):
    def forward(self, image):
        return {"y": F.avg_pool2d(image, 2)}


def test_a_model_without_convolutions_is_refused(capture_program, make_interface):
    program = capture_program(Pooling(), torch.rand(2, 3, 8, 8))
    model = convert(program, make_interface(["image"], ["y"]), opset=20)
    with pytest.raises(ExportError, match="nothing to quantise"):
        Int8(model, Stored({"image": np.zeros((1, 3, 8, 8), np.float32)}, "zeros"), "onnx")
