import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compactmtl.export.cases import random_inputs
from compactmtl.export.check import make_check
from compactmtl.export.onnx_run import verify
from compactmtl.export.rewrites.antialias import BICUBIC, BILINEAR, weights_of


class Resize(nn.Module):
    def __init__(self, **args):
        super().__init__()
        self.args = args

    def forward(self, x):
        return {"y": F.interpolate(x, antialias=True, **self.args)}


@pytest.mark.parametrize("op", [BILINEAR, BICUBIC])
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("sizes", [(12, 5), (5, 12), (7, 7), (9, 1)])
def test_two_matrices_are_torchs_op(op, align_corners, sizes):
    before, after = sizes
    x = torch.randn(2, 3, before, 11, dtype=torch.float64)
    want = op(x, [after, 6], align_corners, None, None)
    down, right = (weights_of(op, *pair, align_corners, None).double() for pair in (sizes, (11, 6)))
    torch.testing.assert_close(down @ (x @ right.T), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "args",
    [
        {"size": (5, 20), "mode": "bilinear"},
        {"scale_factor": 0.45, "mode": "bicubic", "recompute_scale_factor": False},
    ],
)
def test_the_strict_rule_holds(capture_program, make_interface, convert_and_run, args):
    program = capture_program(Resize(**args), torch.rand(2, 3, 13, 16), dynamic=False)
    interface = make_interface(["x"], ["y"])
    model, (got,) = convert_and_run(program, interface, x := torch.rand(2, 3, 13, 16))
    assert {node.op_type for node in model.graph.node} == {"MatMul"}
    np.testing.assert_allclose(got["y"], Resize(**args)(x)["y"].numpy(), rtol=0, atol=1e-6)
    check = make_check(program, interface, random_inputs(program, interface))
    assert verify(model, check).per_task["y"].max_rel_error < 1e-6
