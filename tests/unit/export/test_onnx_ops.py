import numpy as np
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compactmtl.export.onnx_convert import convert
from compactmtl.export.onnx_run import pool_indices
from compactmtl.export.options import OPSET


class Pool(nn.Module):
    def __init__(self, **args) -> None:
        super().__init__()
        self.args = args

    def forward(self, x):
        values, indices = F.max_pool2d(x, return_indices=True, **self.args)
        return {"values": values, "indices": indices}


class PoolUnpool(nn.Module):
    def forward(self, x):
        values, indices = F.max_pool2d(x, 3, return_indices=True)
        # A selection of channels, as the compiler makes it: the planes of the values and of the
        # unpooled tensor are then not those that the pool counted in.
        keep = torch.tensor([3, 1])
        size = x.shape[-2:]
        return {
            "up": F.max_unpool2d(values[:, keep], indices[:, keep], 3, output_size=size),
        }


def run(program, interface, x):
    model = convert(program, interface, opset=OPSET)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return model, session.run(None, {"x": x.numpy()})


@pytest.mark.parametrize(
    "args",
    [
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": (3, 2), "stride": (1, 2), "dilation": (1, 2), "ceil_mode": True},
    ],
)
def test_pool_indices_are_torchs(capture_program, make_interface, args):
    program = capture_program(Pool(**args), torch.rand(2, 4, 12, 14))
    x = torch.rand(3, 4, 9, 11)
    model, (values, indices) = run(program, make_interface(["x"], ["values", "indices"]), x)
    expected_values, expected_indices = F.max_pool2d(x, return_indices=True, **args)
    np.testing.assert_array_equal(values, expected_values.numpy())
    np.testing.assert_array_equal(indices, expected_indices.numpy())
    assert pool_indices(model) == ["indices"]


def test_unpooling_is_torchs_at_any_size_and_for_chosen_channels(capture_program, make_interface):
    module = PoolUnpool()
    program = capture_program(module, torch.rand(2, 4, 12, 15))
    for shape in ((1, 4, 12, 15), (3, 4, 13, 17)):
        x = torch.rand(shape)
        model, (got,) = run(program, make_interface(["x"], ["up"]), x)
        np.testing.assert_array_equal(got, module(x)["up"].numpy())
    assert "ScatterND" not in {node.op_type for node in model.graph.node}


class Segment(nn.Module):
    """Pool by 2, change the values, put them back where the maxima were."""

    def forward(self, x):
        values, indices = F.max_pool2d(x, 2, return_indices=True)
        up = F.max_unpool2d(values * 2 - 1, indices, 2, output_size=x.shape[-2:])
        return {"indices": indices, "up": up}


def ties(shape, seed):
    """Return values of which most windows hold their maximum several times, in every pattern."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1, 3, shape, generator=generator).relu().float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pooling_by_two_takes_the_first_of_equal_values(capture_program, make_interface, dtype):
    program = capture_program(Segment(), torch.rand(2, 4, 12, 14).to(dtype))
    model = convert(program, make_interface(["x"], ["indices", "up"]), opset=OPSET)
    # Pools with indices have no fast kernel, and other runtimes no kernel at all.
    assert all(len(n.output) == 1 for n in model.graph.node if n.op_type == "MaxPool")
    assert pool_indices(model) == ["indices"]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    patterns = torch.cartesian_prod(*[torch.arange(3.0)] * 4)  # every order and every tie
    windows = patterns.reshape(1, 1, 81, 2, 2).transpose(2, 3).reshape(1, 1, 2, 162)
    for x in (
        windows.repeat(2, 4, 3, 1),
        torch.zeros(1, 4, 6, 8),
        ties((3, 4, 9, 11), 0),  # odd: the last row and column are in no window
        ties((1, 4, 10, 7), 1),
        -ties((2, 4, 7, 10), 2),
    ):
        got = session.run(None, {"x": x.to(dtype).numpy()})
        want = Segment()(x.to(dtype))
        np.testing.assert_array_equal(got[0], want["indices"].numpy())
        np.testing.assert_array_equal(got[1], want["up"].numpy())


@pytest.mark.parametrize("shape", [(2, 4, 10, 12), (2, 4, 9, 12), (2, 4, 10, 7)])
def test_pooling_by_two_at_a_fixed_size_cuts_only_odd_ones(capture_program, make_interface, shape):
    x = ties(shape, 3)
    program = capture_program(Segment(), x, dynamic=False)
    model, got = run(program, make_interface(["x"], ["indices", "up"]), x)
    for found, want in zip(got, Segment()(x).values(), strict=True):
        np.testing.assert_array_equal(found, want.numpy())
    cuts = any(node.op_type == "Slice" for node in model.graph.node)
    assert cuts == (shape[2] % 2 + shape[3] % 2 > 0)


def test_unpooling_to_another_size_than_twice_ignores_what_runtimes_differ_in(
    capture_program, make_interface
):
    program = capture_program(Segment(), torch.rand(2, 4, 12, 14))
    model = convert(program, make_interface(["x"], ["indices", "up"]), opset=OPSET)
    (choice,) = (node for node in model.graph.node if node.op_type == "If")
    branches = {a.name: {n.op_type for n in a.g.node} for a in choice.attribute}
    assert "MaxUnpool" in branches["then_branch"]
    assert "MaxUnpool" not in branches["else_branch"]
