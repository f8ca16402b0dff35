import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compactmtl.errors import ExportError
from compactmtl.export.reference import Reference


def test_fp64_is_the_network_in_double(network, program):
    x = torch.rand(3, 3, 32, 48)
    run = Reference(program).run([x], torch.float64)
    with torch.no_grad():
        expected = copy.deepcopy(network).double()(x.double())
    for got, want in zip(run.outputs, expected.values(), strict=True):
        assert got.dtype == torch.float64
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_fp32_is_the_network(network, program):
    x = torch.rand(2, 3, 48, 64)
    run = Reference(program).run([x], torch.float32)
    with torch.no_grad():
        expected = network(x)
    for got, want in zip(run.outputs, expected.values(), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


class Rounding(nn.Module):
    """A network that names float32 itself, in a constant and in a cast."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("third", torch.tensor(1 / 3))

    def forward(self, x):
        return {
            "y": (x + torch.full((1,), 0.1, dtype=torch.float32)).to(torch.float32) * self.third
        }


def test_dtypes_the_graph_names_do_not_round_the_fp64_reference(capture_program):
    x = torch.rand(2, 3, 4, 4)
    reference = Reference(capture_program(Rounding(), x))
    (got,) = reference.run([x], torch.float64).outputs
    assert got.dtype == torch.float64
    exact = (x.double() + 0.1) * torch.tensor(1 / 3).double()
    assert (got - exact).abs().max() < 1e-15
    (rounded,) = reference.run([x], torch.float32).outputs
    assert (rounded.double() - exact).abs().max() > 1e-9  # the bound above can fail


def test_a_violated_guard_raises(capture_program):
    program = capture_program(nn.Conv2d(3, 2, 3), torch.rand(2, 3, 8, 8), dynamic=False)
    with pytest.raises(AssertionError):
        Reference(program).run([torch.rand(3, 3, 8, 8)], torch.float32)


class Pooling(nn.Module):
    def forward(self, x):
        y, indices = F.max_pool2d(x, 2, return_indices=True)
        return {"up": F.max_unpool2d(y, indices, 2)}


def test_imposed_selections_are_used_and_their_gap_is_measured(capture_program):
    x = torch.zeros(2, 1, 4, 4)
    x[..., 0, 0], x[..., 0, 1], x[..., 2, 2] = 4.0, 3.0, 2.0
    reference = Reference(capture_program(Pooling(), x))
    assert reference.num_pools == 1
    free = reference.run([x], torch.float64)
    assert free.selections[0][0, 0, 0, 0] == 0
    assert free.outputs[0][0, 0, 0, 0] == 4

    imposed = free.selections[0].clone()
    imposed[0, 0, 0, 0] = 1  # the second largest of the window
    run = reference.run([x], torch.float64, [imposed])
    assert run.outputs[0][0, 0, 0, 1] == 4
    assert run.outputs[0][0, 0, 0, 0] == 0
    assert run.gaps[0][0, 0, 0] == pytest.approx((4 - 3) / 4)
    assert run.gaps[0].count_nonzero() == 1


def test_an_index_outside_the_plane_is_refused(capture_program):
    x = torch.rand(2, 1, 4, 4)
    reference = Reference(capture_program(Pooling(), x))
    imposed = reference.run([x], torch.float64).selections[0] + 16
    with pytest.raises(ExportError, match="outside its window"):
        reference.run([x], torch.float64, [imposed])


class Classes(nn.Module):
    def forward(self, x):
        return {"raw": x * 2, "classes": (x * 2).argmax(1)}


def test_argmax_outputs_are_selections(capture_program):
    x = torch.rand(2, 4, 3, 5)
    reference = Reference(capture_program(Classes(), x))
    assert (reference.num_pools, len(reference.selecting)) == (0, 1)
    run = reference.run([x], torch.float64)
    other = (run.outputs[1] + 1) % 4
    assert reference.arrange([], [run.outputs[0], other])[0] is other
    changed = reference.run([x], torch.float64, [other])
    assert torch.equal(changed.outputs[1], other)
    gap = run.outputs[0].amax(1, keepdim=True) - run.outputs[0].gather(1, other[:, None])
    torch.testing.assert_close(changed.gaps[0], gap / run.outputs[0].max())
