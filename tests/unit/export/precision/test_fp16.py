import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from compactmtl.errors import ExportError, NonFiniteError, UsageError
from compactmtl.export.base import make_job
from compactmtl.export.cases import random_inputs
from compactmtl.export.onnx import OnnxExporter
from compactmtl.export.onnx_convert import convert
from compactmtl.export.onnx_run import Session
from compactmtl.export.options import Options
from compactmtl.export.precision import fp16
from compactmtl.export.precision.fp16 import to_fp16
from compactmtl.export.precision.layers import constants, layers
from compactmtl.export.sidecar import Parent, read_sidecar

PARENT = Parent(file="model.pt2", sha256="0" * 64)
EPS = 2.0**-11
"""Rounding to fp16, relative."""


@pytest.fixture(scope="module")
def model(program, interface):
    return convert(program, interface, opset=20)


def rms(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@pytest.mark.parametrize("shape", [(1, 3, 48, 64), (3, 3, 33, 70)])
def test_it_computes_the_same_to_a_few_roundings(model, shape):
    half = to_fp16(model)
    onnx.checker.check_model(half, full_check=True)
    assert [value.type for value in half.graph.input] == [v.type for v in model.graph.input]
    assert [value.type for value in half.graph.output] == [v.type for v in model.graph.output]
    inputs = {"image": torch.rand(shape).numpy()}
    want, got = (Session(m.SerializeToString(), "m")(inputs) for m in (model, half))
    for name, value in want.items():
        assert got[name].dtype == np.float32
        assert 0 < rms(got[name], value) < 16 * EPS


def test_weights_are_halved_but_for_what_is_kept(model):
    names = layers(model)
    assert list(names.values()) == ["first", "second", "up", "heads.seg", "heads.depth"]
    node = next(node for node, name in names.items() if name == "second")
    types = {name: value.dtype for name, value in constants(to_fp16(model, [node])).items()}
    assert types["second.weight"] == np.float32
    for other in ("first", "up", "heads.seg", "heads.depth"):
        assert types[f"{other}.weight"] == np.float16


def test_the_model_itself_is_left_alone(model):
    before = model.SerializeToString(deterministic=True)
    to_fp16(model)
    assert model.SerializeToString(deterministic=True) == before


def by_size(width):
    """Return a graph that reshapes to a width that it computes in floating point."""
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["doubled"], name="double"),
        helper.make_node("Shape", ["doubled"], ["size"], name="shape"),
        helper.make_node("Cast", ["size"], ["real"], name="to_real", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "one"], ["scaled"], name="scale"),
        helper.make_node("Cast", ["scaled"], ["whole"], name="to_whole", to=TensorProto.INT64),
        helper.make_node("Reshape", ["doubled", "whole"], ["y"], name="reshape"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "width"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "width"])],
        [
            onnx.numpy_helper.from_array(np.array([2], np.float32), "two"),
            onnx.numpy_helper.from_array(np.array([1, 1], np.float32), "one"),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ), np.ones((1, width), np.float32)


def test_sizes_are_not_computed_in_fp16(monkeypatch):
    model, x = by_size(4099)  # not a number of fp16, which knows 4096 and 4100
    np.testing.assert_array_equal(run(to_fp16(model), x), 2 * x)
    monkeypatch.setattr(fp16, "_of_sizes_alone", lambda graph: set())
    with pytest.raises(ValueError, match="reshape"):
        run(to_fp16(model), x)


def run(model, x):
    """Run as ONNX defines it; ONNX Runtime leaves out casts on the CPU, and so their rounding."""
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


class Dead(torch.nn.Module):
    """One output does not depend on the image, but on its size."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 2, 1)

    def forward(self, image):
        constant = torch.ones_like(image).cumsum(3)
        return {"dead": self.head(self.layer(constant)), "alive": self.layer(image)}


def test_layers_that_read_constants_are_lowered_or_kept_as_any(capture_program, make_interface):
    program = capture_program(Dead(), torch.rand(2, 3, 8, 8))
    model = convert(program, make_interface(["image"], ["dead", "alive"]), opset=20)
    inputs = {"image": torch.rand(2, 3, 9, 7).numpy()}
    want = Session(model.SerializeToString(), "fp32")(inputs)
    for keep in ((), list(layers(model))[:1], layers(model)):
        half = to_fp16(model, keep)
        onnx.checker.check_model(half, full_check=True)
        got = Session(half.SerializeToString(), "fp16")(inputs)
        for name, value in want.items():
            assert rms(got[name], value) < 16 * EPS


def with_weight(model, name, value):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (tensor,) = (each for each in copy.graph.initializer if each.name == name)
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.flat[0] = value
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    return copy


def test_a_weight_that_fp16_cannot_hold_is_named(model):
    large = with_weight(model, "second.weight", -1e5)
    with pytest.raises(ExportError, match=r"`second\.weight` holds 1e\+05, fp16 ends at 65504"):
        to_fp16(large)
    node = next(node for node, name in layers(large).items() if name == "second")
    to_fp16(large, [node])
    to_fp16(with_weight(model, "second.weight", -6e4))


def export(program, interface, stored, path, **options):
    job = make_job(
        program,
        interface,
        path,
        stored=stored,
        parent=PARENT,
        which="compact",
        options=Options(**options),
    )
    return OnnxExporter().export(job)


def test_export_measures_each_task(tmp_path, program, interface, stored):
    path = tmp_path / "model.fp16.onnx"
    sidecar = export(program, interface, stored, path, precision="fp16")
    assert read_sidecar(path) == sidecar
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name, f"{path.name}.json"]
    assert sidecar.precision == "fp16"
    assert (sidecar.lowering.num_layers, sidecar.lowering.kept) == (5, [])
    assert list(sidecar.verified.per_task) == ["seg", "depth"]
    for parity in sidecar.verified.per_task.values():
        assert 0 < parity.rel_rms < 16 * EPS
        assert parity.rel_rms < parity.max_rel_error * 100
        assert (parity.bound, parity.torch_fp32_error) == (None, None)
    assert [value.dtype for value in (*sidecar.inputs, *sidecar.outputs)] == ["float32"] * 3


class Overflowing(torch.nn.Module):
    def forward(self, image):
        return {"y": (image * 3e4) * 3 - image * 9e4}


def test_overflow_is_found_and_nothing_is_written(tmp_path, capture_program, make_interface):
    program = capture_program(Overflowing(), torch.rand(2, 3, 8, 8))
    interface = make_interface(["image"], ["y"])
    with pytest.raises((NonFiniteError, ExportError)):
        export(
            program,
            interface,
            random_inputs(program, interface),
            tmp_path / "a.onnx",
            precision="fp16",
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": {"seg": 0.1}}, "`max_drop` means nothing in fp32"),
        ({"precision": "fp16", "calibration": "rooms"}, "`calibration` means nothing in fp16"),
        ({"precision": "int4"}, "`onnx` writes no int4"),
    ],
)
def test_contradictions_are_refused(options, message):
    target = OnnxExporter()
    with pytest.raises(UsageError, match=message):
        Options(**options).check_taken("onnx", target.takes | {"calibration"}, target.precisions)


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ({"sge": 0.1}, "no task `sge`; did you mean `seg`"),
        ({"seg": -1.0}, "max_drop of `seg` is -1.0"),
        ({"seg": float("nan")}, "max_drop of `seg` is nan"),
    ],
)
def test_budgets_are_checked(drop, message):
    with pytest.raises(UsageError, match=message):
        Options(precision="fp16", max_drop=drop).check_tasks(["seg", "depth"])
