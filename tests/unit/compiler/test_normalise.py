"""In-place ops: what is rewritten computes the same, what cannot be stays opaque."""

import pytest
import torch
from torch import Tensor, nn

from compactmtl.compiler.analysis import analyse
from compactmtl.compiler.capture import capture
from compactmtl.compiler.normalise import is_mutating, normalise


class Net(nn.Module):
    def __init__(self, body) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.body = body

    def forward(self, image: Tensor) -> Tensor:
        return self.body(self.conv(image))


def residual(x: Tensor) -> Tensor:
    y = x * 2
    y += x
    return y.relu_()


def read_after_write(x: Tensor) -> Tensor:
    y = x.relu_()
    return x + y  # x has been written: 2 * relu


def view_written(x: Tensor) -> Tensor:
    part = x[:, :2]
    part.mul_(3)
    return x + 1


def view_made_before(x: Tensor) -> Tensor:
    flat = x.flatten(2)
    x.relu_()
    return flat


@pytest.mark.parametrize(
    ("body", "num_left"),
    [(residual, 0), (read_after_write, 0), (view_written, 1), (view_made_before, 1)],
)
def test_rewriting_in_place_ops_changes_nothing(body, num_left: int) -> None:
    torch.manual_seed(0)
    net, image = Net(body).eval(), torch.randn(2, 3, 6, 6)
    expected = net(image)
    captured = capture(net, image, dynamic=False)
    normalise(captured.module)
    torch.testing.assert_close(captured.module(image), expected, rtol=0, atol=0)
    left = [n for n in captured.module.graph.nodes if n.op == "call_function" and is_mutating(n)]
    assert len(left) == num_left


def test_memory_written_under_another_name_is_opaque() -> None:
    captured = capture(Net(view_written).eval(), torch.randn(2, 3, 6, 6), dynamic=False)
    normalise(captured.module)
    facts = analyse(captured.module)
    assert "written in place" in {n.name: w for n, w in facts.refusals.items()}["conv2d"]
