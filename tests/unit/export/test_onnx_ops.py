import numpy as np
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compactmtl.export.onnx import OPSET, convert, pool_indices


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
    assert sum(node.op_type == "MaxPool" for node in model.graph.node) == 1
    assert pool_indices(model) == ["indices"]


def test_unpooling_is_torchs_at_any_size_and_for_chosen_channels(capture_program, make_interface):
    module = PoolUnpool()
    program = capture_program(module, torch.rand(2, 4, 12, 15))
    for shape in ((1, 4, 12, 15), (3, 4, 13, 17)):
        x = torch.rand(shape)
        model, (got,) = run(program, make_interface(["x"], ["up"]), x)
        np.testing.assert_array_equal(got, module(x)["up"].numpy())
    assert "ScatterND" not in {node.op_type for node in model.graph.node}
