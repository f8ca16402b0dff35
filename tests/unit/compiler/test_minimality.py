"""Small nets solved by hand: the compiler keeps exactly what it must, no more and no less."""

import pytest
import torch
from torch import Tensor, nn

from compactmtl.compiler import census


def layers(compact) -> dict[str, tuple[int, int]]:
    return {row["name"]: (row["in_after"], row["out_after"]) for row in compact.report.layers}


class Chain(nn.Module):
    def __init__(self, padding: int = 1, bias: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(3, 6, 3, padding=1)
        self.b = nn.Conv2d(6, 5, 3, padding=padding)
        nn.init.constant_(self.a.bias, bias)

    def forward(self, image: Tensor) -> Tensor:
        return self.b(self.a(image).relu())


def test_an_unread_channel_goes_with_the_filter_that_makes_it(compile_static) -> None:
    net = Chain()
    with torch.no_grad():
        net.b.weight[:, [1, 4]] = 0
    assert layers(compile_static(net)) == {"a": (3, 4), "b": (4, 5)}


def test_a_zero_filter_without_bias_goes(compile_static) -> None:
    net = Chain()
    with torch.no_grad():
        net.a.weight[[0, 2]] = 0
    assert layers(compile_static(net)) == {"a": (3, 4), "b": (4, 5)}


def test_a_constant_channel_folds_into_the_bias_where_nothing_is_padded(compile_static) -> None:
    net = Chain(padding=0, bias=0.5)
    with torch.no_grad():
        net.a.weight[[0, 2]] = 0
    compact = compile_static(net)
    assert layers(compact) == {"a": (3, 4), "b": (4, 5)}
    assert not compact.report.carriers


def test_constant_channels_leave_one_carrier_before_zero_padding(compile_static) -> None:
    net = Chain(padding=1, bias=0.5)
    with torch.no_grad():
        net.a.weight[[0, 2, 3]] = 0
        net.a.bias[[0, 2, 3]] = torch.tensor([0.2, 0.9, 0.4])
    compact = compile_static(net)
    assert layers(compact) == {"a": (3, 4), "b": (4, 5)}
    assert [(row["layer"], row["channel"]) for row in compact.report.carriers] == [("b", 2)]
    assert compact.report.carriers[0]["value"] == pytest.approx(0.9)


def test_a_constant_that_relu_cuts_to_zero_needs_no_carrier(compile_static) -> None:
    net = Chain(padding=1, bias=-0.5)
    with torch.no_grad():
        net.a.weight[[0, 2]] = 0
    compact = compile_static(net)
    assert layers(compact) == {"a": (3, 4), "b": (4, 5)}
    assert not compact.report.carriers


def test_weights_that_sum_to_zero_are_not_zero(compile_static) -> None:
    net = Chain()
    with torch.no_grad():  # an edge filter
        net.b.weight[:, 0] = torch.tensor([[-1.0, 0, 1], [-1, 0, 1], [-1, 0, 1]])
    assert layers(compile_static(net)) == {"a": (3, 6), "b": (6, 5)}


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 1)
        self.one = nn.Conv2d(8, 4, 1)
        self.two = nn.Conv2d(4, 8, 1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.stem(image)
        return {"y": self.head(x + self.two(self.one(x).relu()))}


def test_a_stream_channel_goes_when_no_reader_is_left(compile_static) -> None:
    net = Residual()
    with torch.no_grad():
        net.one.weight[:, [0, 1, 2, 3]] = 0
        net.head.weight[:, [0, 1, 6, 7]] = 0
    # Stream channels 0 and 1 have no reader; `one` gathers or reads 4 of the 6 that stay.
    dense = layers(compile_static(net, gather=False))
    assert dense == {"stem": (3, 6), "one": (6, 4), "two": (4, 6), "head": (6, 2)}
    gathered = compile_static(net, objective="macs")
    assert layers(gathered) == {"stem": (3, 6), "one": (4, 4), "two": (4, 4), "head": (4, 2)}
    assert gathered.report.gathers == 2


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(3, 4, 1)
        self.b = nn.Conv2d(3, 4, 1)
        self.c = nn.Conv2d(8, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.c(torch.cat([self.a(image), self.b(image)], 1))


def test_cat_drops_channels_segment_by_segment(compile_static) -> None:
    net = Branches()
    with torch.no_grad():
        net.c.weight[:, [1, 4, 5]] = 0
    assert layers(compile_static(net)) == {"a": (3, 3), "b": (3, 2), "c": (5, 2)}


def test_a_whole_dead_segment_goes_with_its_branch(compile_static) -> None:
    net = Branches()
    with torch.no_grad():
        net.c.weight[:, 4:] = 0
    assert layers(compile_static(net)) == {"a": (3, 4), "b": (0, 0), "c": (4, 2)}


class Feature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(3, 6, 1)
        self.b = nn.Conv2d(6, 2, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.a(image)
        return {"feature": x, "y": self.b(x)}


def test_a_feature_that_is_also_an_output_keeps_its_shape(compile_static) -> None:
    net = Feature()
    with torch.no_grad():
        net.b.weight[:, 2:] = 0
    compact = compile_static(net, objective="macs")
    assert layers(compact) == {"a": (3, 6), "b": (2, 2)}
    assert compact.module(torch.rand(1, 3, 8, 8))["feature"].shape == (1, 6, 8, 8)


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(3, 6, 1)
        self.b = nn.Conv2d(6, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.b(self.a(image).flip(1))


def test_an_unknown_op_keeps_its_channels_and_is_named_with_its_line(compile_static) -> None:
    net = Unknown()
    with torch.no_grad():
        net.b.weight[:, 2:] = 0
    compact = compile_static(net)
    assert layers(compact)["a"] == (3, 6)
    (row,) = compact.report.opaque
    assert (row["op"], row["why"]) == ("flip", "no rule for this op")
    assert row["source"].startswith(__file__)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(4, 4, 1)
        self.b = nn.Conv2d(3, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.a(self.a(self.b(image)).relu())


def test_a_layer_called_twice_reads_and_makes_the_same_in_both_calls(compile_static) -> None:
    net = Twice()
    with torch.no_grad():
        net.a.weight[:, 2:] = 0
    compact = compile_static(net)
    assert layers(compact) == {"a": (2, 4), "b": (3, 2)}
    assert compact.report.opaque == []


def test_batch_norm_with_scale_zero_frees_its_input(compile_static) -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1))
    with torch.no_grad():
        net[1].weight[[0, 3]] = 0
        net[1].bias.uniform_(0.1, 1)
    assert layers(compile_static(net)) == {"0": (3, 4), "3": (4, 2)}


def test_census_counts_three_different_things(compile_static) -> None:
    net = Residual()
    with torch.no_grad():
        net.one.weight[:, [0, 1, 2]] = 0  # 3 zero groups; channels 0, 1 are read by the head
        net.head.weight[:, [2, 7]] = 0  # 2 zero groups; of these only 2 is read by nobody
        net.two.weight[5] = 0  # a zero filter in a stream that others feed
    counts = compile_static(net).report.census
    assert counts == census(net, torch.rand(2, 3, 8, 8))
    assert counts == {
        "num_groups": 3 + 8 + 4 + 8,
        "zero_groups": 5,
        "num_filters": 8 + 4 + 8 + 2,
        "zero_filters": 1,
        # Stream channel 2, out of the two layers that make it; 7, which only `one` reads, of `two`.
        "removable_channels": 3,
        "num_channels": 22,
    }


def test_a_factor_of_a_product_with_zero_is_not_read(compile_static) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.gate = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(3, 4, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.a(image) * self.gate(image).sigmoid()

    net = Gated()
    with torch.no_grad():
        net.a.weight[0] = 0
        net.gate.weight[1:, 2] = 0  # only what multiplies the 0 reads it
    assert layers(compile_static(net))["gate"] == (3, 4)
    assert layers(compile_static(net, objective="macs"))["gate"] == (2, 4)


@pytest.mark.parametrize(("counts", "kept"), [(False, 2), (True, 4)])
def test_constants_pass_an_average_that_does_not_count_padding(
    compile_static, counts: bool, kept: int
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=counts), nn.Conv2d(4, 2, 1)
    )
    with torch.no_grad():
        net[0].weight[[0, 1]] = 0
    assert layers(compile_static(net)) == {"0": (3, kept), "2": (kept, 2)}


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_given_as_a_word_is_padding(compile_static, padding) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=padding), nn.Conv2d(6, 2, 3, padding=padding, dilation=2)
    )
    with torch.no_grad():
        net[1].weight[:, [1, 4]] = 0
    compact = compile_static(net)
    assert layers(compact) == {"0": (3, 4), "1": (4, 2)}
    assert not compact.report.opaque


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_padding_that_differs_between_the_sides_stays_opaque(compile_static) -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 2, padding="same"))
    with torch.no_grad():
        net[1].weight[:, [1, 4]] = 0
    compact = compile_static(net)
    assert layers(compact) == {"0": (3, 6), "1": (6, 2)}
    assert [row["why"] for row in compact.report.opaque] == ["its padding is given as a word"]
