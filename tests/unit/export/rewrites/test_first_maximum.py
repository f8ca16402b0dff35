import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx.reference import ReferenceEvaluator
from torch import nn

from compactmtl.export.check import make_check
from compactmtl.export.onnx_convert import convert
from compactmtl.export.onnx_run import pool_indices, verify
from compactmtl.export.options import OPSET

VALUES = torch.tensor([-1.0, -0.0, 0.0, 1.0])


def every_window():
    """Return (1, 1, 2, 512): each of the 256 windows of 2x2 over four values, two of them equal."""
    patterns = torch.cartesian_prod(*[VALUES] * 4)
    return patterns.reshape(1, 1, 256, 2, 2).transpose(2, 3).reshape(1, 1, 2, 512)


def ties(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return VALUES[torch.randint(0, 4, shape, generator=generator)]


class Pool(nn.Module):
    def __init__(self, **args):
        super().__init__()
        self.args = args

    def forward(self, x):
        values, indices = F.max_pool2d(x, return_indices=True, **self.args)
        return {"values": values, "indices": indices}


class Segment(nn.Module):
    """Pool, change the values, choose and double planes, put the values back."""

    def __init__(self, kernel=2):
        super().__init__()
        self.kernel = kernel
        self.register_buffer("keep", torch.tensor([3, 1, 1]))

    def forward(self, x):
        values, indices = F.max_pool2d(x, self.kernel, return_indices=True)
        values, indices = (y.index_select(1, self.keep) for y in (values, indices))
        up = F.max_unpool2d(-values, indices, self.kernel, output_size=x.shape[-2:])
        return {"indices": indices, "up": up}


@pytest.mark.parametrize(
    "args",
    [
        pytest.param({"kernel_size": 2}, marks=pytest.mark.slow),
        {"kernel_size": 3, "stride": 2, "padding": 1},
        pytest.param({"kernel_size": 2, "stride": 1}, marks=pytest.mark.slow),
        {"kernel_size": (3, 2), "stride": (1, 3), "dilation": (1, 2)},
    ],
)
def test_pools_are_torchs(capture_program, make_interface, convert_and_run, args):
    shape = (2, 4, 9, 12)
    program = capture_program(Pool(**args), torch.rand(shape))
    inputs = [ties(shape, 0), torch.randn(shape), ties((3, 4, 12, 7), 1), ties((1, 4, 11, 11), 2)]
    interface = make_interface(["x"], ["values", "indices"])
    model, runs = convert_and_run(program, interface, *inputs)
    assert "MaxPool" not in {node.op_type for node in model.graph.node}
    assert pool_indices(model) == ["indices"]
    for x, got in zip(inputs, runs, strict=True):
        for name, want in Pool(**args)(x).items():
            np.testing.assert_array_equal(got[name], want.numpy())


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)]
)
def test_unpooling_puts_every_value_where_torch_does(
    capture_program, make_interface, convert_and_run, dtype
):
    program = capture_program(Segment(), torch.rand(2, 4, 12, 14).to(dtype))
    inputs = [
        every_window().repeat(2, 4, 3, 1),
        torch.zeros(1, 4, 6, 8),
        torch.full((1, 4, 6, 8), -2.5),
        ties((3, 4, 9, 11), 0),  # odd: the last row and column are in no window
        ties((1, 4, 10, 7), 1),
        ties((2, 4, 7, 10), 2),
    ]
    inputs = [x.to(dtype) for x in inputs]
    model, runs = convert_and_run(program, make_interface(["x"], ["indices", "up"]), *inputs)
    found = {node.op_type for node in model.graph.node}
    assert not found & {"MaxPool", "MaxUnpool", "ScatterElements", "ScatterND", "If"}
    for x, got in zip(inputs, runs, strict=True):
        for name, want in Segment()(x).items():
            np.testing.assert_array_equal(got[name], want.numpy())


@pytest.mark.parametrize("size", [pytest.param((6, 9), marks=pytest.mark.slow), (7, 11)])
def test_windows_of_three_and_fixed_sizes(capture_program, make_interface, convert_and_run, size):
    program = capture_program(Segment(3), torch.rand(2, 4, *size), dynamic=False)
    x = ties((2, 4, *size), 0)
    model, (got,) = convert_and_run(program, make_interface(["x"], ["indices", "up"]), x)
    np.testing.assert_array_equal(got["up"], Segment(3)(x)["up"].numpy())
    # What a fixed size lets the exporter work out beforehand is not left to the runtime.
    found = {node.op_type for node in model.graph.node}
    assert not found & {"Shape", "Range", "Div"}
    assert ("Pad" in found) == (size == (7, 11))


class Apart(nn.Module):
    """Windows with gaps between them, and a plane that is larger than the one pooled."""

    def forward(self, x):
        values, indices = F.max_pool2d(x, 2, stride=3, return_indices=True)
        size = (x.shape[-2] + 3, x.shape[-1])
        return {"up": torch.ops.aten.max_unpool2d(values, indices, size)}


def test_windows_that_do_not_tile_are_scattered(capture_program, make_interface, convert_and_run):
    program = capture_program(Apart(), torch.rand(2, 4, 12, 14))
    inputs = [ties((1, 4, 12, 14), 0), ties((3, 4, 11, 17), 1)]
    model, runs = convert_and_run(program, make_interface(["x"], ["up"]), *inputs)
    assert "ScatterElements" in {node.op_type for node in model.graph.node}
    for x, got in zip(inputs, runs, strict=True):
        np.testing.assert_array_equal(got["up"], Apart()(x)["up"].numpy())


@pytest.fixture(scope="module")
def model(program, interface):
    return convert(program, interface, opset=OPSET, operators="tensorrt")


@pytest.fixture(scope="module")
def check(program, interface, stored):
    return make_check(program, interface, stored)


def test_the_strict_rule_holds_with_the_runtimes_own_selections(model, check):
    assert len(pool_indices(model)) == 2
    parity = verify(model, check)
    assert parity.num_selections > 10_000
    assert parity.num_flips == 0  # the same values, compared in the same order


def planted(model, change):
    wrong = onnx.ModelProto()
    wrong.CopyFrom(model)
    change(wrong)
    return wrong


def last_maximum_wins(model):
    next(n for n in model.graph.node if n.op_type == "Greater").op_type = "GreaterOrEqual"


def same_bits(model, x):
    """Compare by ONNX's own definitions: ONNX Runtime's Where forgets the sign of a zero."""
    got = ReferenceEvaluator(model).run(None, {"x": x.numpy()})
    for value, want in zip(got, Segment()(x).values(), strict=True):
        if value.tobytes() != want.numpy().tobytes():
            return False
    return True


def test_equal_to_the_bit_and_the_last_of_equal_values_would_be_seen(
    capture_program, make_interface
):
    program = capture_program(Segment(), torch.rand(2, 4, 12, 14))
    interface = make_interface(["x"], ["indices", "up"])
    model = convert(program, interface, opset=OPSET, operators="tensorrt")
    for x in (every_window().repeat(1, 4, 1, 1), ties((2, 4, 9, 7), 0)):
        assert same_bits(model, x)
        assert not same_bits(planted(model, last_maximum_wins), x)
