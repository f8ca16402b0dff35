"""The oracle itself: it must fail on planted errors."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.compiler.capture import capture
from compactmtl.compiler.normalise import normalise
from compactmtl.compiler.precision import double_copy
from compactmtl.compiler.verify import (
    FP32_FACTOR,
    FP32_FLOOR,
    Quartet,
    StoredPool,
    relative_error,
    verify,
)
from compactmtl.errors import NonFiniteError, VerificationError


@pytest.fixture
def quartet(segnet) -> Quartet:
    captured = capture(segnet, torch.rand(2, 3, 16, 16), dynamic=False)
    normalise(captured.module)
    wide = double_copy(captured.module)
    return Quartet(
        wide, double_copy(captured.module), captured.module, copy.deepcopy(captured.module)
    )


IMAGES = [(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)),)]
POOLS = {
    "max_pool2d_with_indices": StoredPool(tuple(range(8)), torch.ones(8, dtype=torch.bool)),
    "max_pool2d_with_indices_1": StoredPool(tuple(range(12)), torch.ones(12, dtype=torch.bool)),
}
NAMES = ["seg", "depth"]


def test_a_network_that_writes_into_its_input_is_compared_on_what_it_was_given() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 2, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.a(image) + F.relu_(image).mean(1, keepdim=True)

    captured = capture(Net(), torch.rand(2, 3, 4, 4), dynamic=False)
    normalise(captured.module)
    wide = double_copy(captured.module)
    same = Quartet(
        wide, double_copy(captured.module), captured.module, copy.deepcopy(captured.module)
    )
    assert verify(same, [(torch.randn(2, 3, 4, 4),)], ["y"], {}).outputs["y"].fp64_error == 0.0


def test_equal_graphs_pass_with_rounding_errors_only(quartet) -> None:
    report = verify(quartet, IMAGES, NAMES, POOLS)
    assert report.num_inputs == 1
    assert report.outputs["seg"].fp64_error == 0.0
    assert 0 < report.outputs["seg"].fp32_error < 1e-5


@pytest.mark.parametrize("factor", [1 + 1e-9, 2.0, -1.0])
def test_a_scaled_weight_is_found_in_float64(quartet, factor: float) -> None:
    with torch.no_grad():
        quartet.compact64.get_parameter("heads.seg.weight").mul_(factor)
    with pytest.raises(VerificationError, match="output `seg`: float64"):
        verify(quartet, IMAGES, NAMES, POOLS)


def test_what_is_to_blame_is_in_the_message_even_without_memory_to_find_it(quartet) -> None:
    with torch.no_grad():
        quartet.compact64.get_parameter("heads.seg.weight").mul_(2)

    def full(*_: object) -> str:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 7 bytes.")

    for blame, words in ((lambda *_: "it was `conv2d`", "it was `conv2d`"), (full, "not enough")):
        with pytest.raises(VerificationError, match=f"{words}.*; nothing was written"):
            verify(quartet, IMAGES, NAMES, POOLS, blame)


def test_swapped_channels_are_found(quartet) -> None:
    weight = quartet.compact64.get_parameter("heads.depth.weight")
    with torch.no_grad():
        live = weight.abs().sum((0, 2, 3)).nonzero().flatten()[:2]
        weight[:, live] = weight[:, live.flip(0)].clone()
    with pytest.raises(VerificationError, match="depth"):
        verify(quartet, IMAGES, NAMES, POOLS)


def test_a_coarser_float32_graph_is_found(quartet) -> None:
    with torch.no_grad():
        weight = quartet.compact.get_parameter("heads.seg.weight")
        weight.copy_(weight.half().float())
    with pytest.raises(VerificationError, match="float32"):
        verify(quartet, IMAGES, NAMES, POOLS)


class Cancels(nn.Module):
    """Adds numbers one after the other that cancel; what is left hangs on how they are added."""

    def __init__(self, *added: float) -> None:
        super().__init__()
        self.added = nn.ParameterList([nn.Parameter(torch.tensor(value)) for value in added])

    def forward(self, image: Tensor) -> Tensor:
        for value in self.added:
            image = image + value
        return image


def graphs(net: nn.Module, image: Tensor) -> tuple[torch.fx.GraphModule, torch.fx.GraphModule]:
    captured = capture(net, image, dynamic=False)
    normalise(captured.module)
    return double_copy(captured.module), captured.module


def test_an_original_that_is_exact_by_chance_does_not_make_other_rounding_wrong() -> None:
    image = torch.randint(0, 1024, (2, 3, 4, 4)) / 1024  # whole multiples of the unit at 10000
    original64, original = graphs(Cancels(10000.0, -10000.0), image)
    large = torch.tensor(30000.3).item()
    other64, other = graphs(Cancels(large, 10000.0 - large, -10000.0), image)
    check = verify(Quartet(original64, other64, original, other), [(image,)], ["y"], {}).outputs[
        "y"
    ]
    assert check.fp32_error > FP32_FLOOR  # by itself the original, with an error of 0, refuses this
    assert check.fp32_error <= FP32_FACTOR * check.fp32_error_of_original
    with torch.no_grad():
        other.get_parameter("added.1").add_(0.1)
    with pytest.raises(VerificationError, match="float32"):
        verify(Quartet(original64, other64, original, other), [(image,)], ["y"], {})


def test_a_selection_that_differs_without_a_near_tie_is_found(quartet) -> None:
    with torch.no_grad():  # only the positions change: what is unpooled is imposed
        bias = quartet.compact64.get_parameter("encoder.0.0.weight")
        bias[0].neg_()
    with pytest.raises(VerificationError):
        verify(quartet, IMAGES, NAMES, POOLS)


def test_the_shape_of_an_output_is_compared() -> None:
    with pytest.raises(VerificationError, match=r"shape \(2,\), expected \(3,\)"):
        relative_error(torch.zeros(2), torch.zeros(3), "y")


class Ties(nn.Module):
    """Pools maxima that differ by less than float32 can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 4, 3, padding=1, bias=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.mix(image)
        pooled, positions = F.max_pool2d(x, 2, 2, return_indices=True)
        return {"y": F.max_unpool2d(pooled, positions, 2, 2)}


def test_flips_at_near_ties_are_counted_and_allowed() -> None:
    torch.manual_seed(0)
    # Eight columns repeat: neighbours in a window are equal up to rounding.
    image = torch.rand(2, 3, 16, 1).repeat(1, 1, 1, 16) + 1e-8 * torch.rand(2, 3, 16, 16).double()
    net = Ties().double()
    captured = capture(net, image, dynamic=False)
    normalise(captured.module)
    single = copy.deepcopy(captured.module).float()
    original = copy.deepcopy(captured.module).float()
    with torch.no_grad():
        for graph in (single, original):
            graph.get_parameter("mix.weight").add_(1e-9)
    channels = StoredPool((0, 1, 2, 3), torch.ones(4, dtype=torch.bool))
    report = verify(
        Quartet(double_copy(captured.module), double_copy(captured.module), original, single),
        [(image.float(),)],
        ["y"],
        {"max_pool2d_with_indices": channels},
    )
    assert report.widest_gap <= 1e-5
    assert report.flips > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_in_the_compact_graph_is_no_small_error(quartet, value: float) -> None:
    assert relative_error(torch.tensor([value, 1.0]), torch.ones(2), "y") == float("inf")
    with torch.no_grad():
        quartet.compact.get_parameter("heads.seg.weight").fill_(value)
    with pytest.raises(VerificationError, match="float32 relative error inf"):
        verify(quartet, IMAGES, NAMES, POOLS)


def test_an_overflow_in_float32_alone_is_reported_with_its_place(quartet) -> None:
    with torch.no_grad():
        quartet.original.get_parameter("heads.seg.weight").fill_(3e38)
        quartet.original.get_parameter("heads.seg.bias").fill_(3.4e38)
    with pytest.raises(NonFiniteError, match=r"`seg`.*float32.*first is `conv2d` of `heads\.seg`"):
        verify(quartet, IMAGES, NAMES, POOLS)


def test_nan_outputs_of_the_original_are_reported(quartet) -> None:
    image = torch.full((2, 3, 16, 16), float("inf"))
    with pytest.raises(NonFiniteError, match="output `seg`"):
        verify(quartet, [(image,)], NAMES, POOLS)
