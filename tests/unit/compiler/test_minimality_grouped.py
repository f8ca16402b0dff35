"""Grouped, depthwise and transposed convolutions, splits and shuffles, solved by hand."""

import pytest
import torch
from no_blocks import NoGroups
from torch import Tensor, nn

from compactmtl.compiler import compress


def layers(compact) -> dict[str, tuple[int, int]]:
    return {row["name"]: (row["in_after"], row["out_after"]) for row in compact.report.layers}


def ops(compact) -> list[str]:
    nodes = compact.module.graph.nodes
    return [n.target.overloadpacket.__name__ for n in nodes if n.op == "call_function"]


def groups(compact, name: str) -> int:
    """Return the groups of the one convolution whose weight has this name."""
    weights = {n.args[1].target: n for n in compact.module.graph.nodes if n.target == CONV}
    node = weights[f"{name}.weight"]
    return node.args[6] if len(node.args) > 6 else 1


CONV = torch.ops.aten.conv2d.default


def chain(middle: nn.Module, rows: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), middle, nn.Conv2d(rows, 2, 1))


def test_a_depthwise_channel_goes_on_both_sides(compile_static) -> None:
    net = chain(nn.Conv2d(8, 8, 3, padding=1, groups=8))
    with torch.no_grad():
        net[3].weight[:, [0, 3, 4]] = 0
    compact = compile_static(net)
    assert layers(compact) == {"0": (3, 5), "2": (5, 5), "3": (5, 2)}
    assert groups(compact, "2") == 5
    assert compact.report.opaque == []


def test_a_zero_depthwise_filter_frees_its_input_and_leaves_its_bias(compile_static) -> None:
    net = chain(nn.Conv2d(8, 8, 3, padding=1, groups=8))
    with torch.no_grad():
        net[2].weight[[1, 6]] = 0
    assert layers(compile_static(net)) == {"0": (3, 6), "2": (6, 6), "3": (6, 2)}


@pytest.mark.parametrize(("padding", "kept"), [(0, 6), (1, 8)])
def test_a_constant_passes_a_depthwise_conv_only_without_padding(
    compile_static, padding: int, kept: int
) -> None:
    net = chain(nn.Conv2d(8, 8, 3, padding=padding, groups=8))
    with torch.no_grad():
        net[0].weight[[1, 6]] = 0
        net[0].bias[[1, 6]] = 0.7
    assert layers(compile_static(net))["2"] == (kept, kept)


def test_a_depthwise_conv_with_two_filters_per_channel(compile_static) -> None:
    net = chain(nn.Conv2d(8, 16, 3, padding=1, groups=8), rows=16)
    with torch.no_grad():
        net[3].weight[:, [0, 1, 2]] = 0  # channel 0 is not read, channel 1 by one filter
    compact = compile_static(net)
    assert layers(compact) == {"0": (3, 7), "2": (7, 14), "3": (14, 2)}
    assert groups(compact, "2") == 7


def test_a_depthwise_conv_beside_another_reader_gathers_where_it_pays(compile_static) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.deep = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
            self.b, self.c = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1)

        def forward(self, image: Tensor) -> Tensor:
            x = self.a(image)
            return self.b(x) + self.c(self.deep(x))

    net = Two()
    with torch.no_grad():
        net.c.weight[:, 2:] = 0
    assert layers(compile_static(net, objective="macs"))["deep"] == (2, 2)
    assert layers(compile_static(net, gather=False))["deep"] == (8, 8)


def test_groups_keep_as_many_rows_and_columns_as_the_largest(compile_static) -> None:
    net = chain(nn.Conv2d(8, 8, 3, padding=1, groups=2))
    with torch.no_grad():
        net[3].weight[:, [0, 1, 4]] = 0  # rows 2, 3 of group 0; 5, 6, 7 of group 1
        net[2].weight[:4, [0, 1, 2]] = 0  # group 0 reads one column
        net[2].weight[4:, [0, 3]] = 0  # group 1 reads two
    compact = compile_static(net)
    assert layers(compact) == {"0": (3, 4), "2": (4, 6), "3": (6, 2)}
    assert groups(compact, "2") == 2
    assert compact.module.get_parameter("2.weight").shape == (6, 2, 3, 3)


def test_a_group_that_nobody_reads_goes(compile_static) -> None:
    net = chain(nn.Conv2d(8, 12, 3, padding=1, groups=4), rows=12)
    with torch.no_grad():
        net[3].weight[:, 3:6] = 0
    compact = compile_static(net)
    assert layers(compact) == {"0": (3, 6), "2": (6, 9), "3": (9, 2)}
    assert groups(compact, "2") == 3


def test_constants_before_zero_padding_leave_one_carrier_per_group(compile_static) -> None:
    net = chain(nn.Conv2d(8, 8, 3, padding=1, groups=2))
    with torch.no_grad():
        net[0].weight[[0, 1, 6, 7]] = 0
        net[0].bias[[0, 1, 6, 7]] = torch.tensor([0.2, 0.9, 0.8, 0.3])
    compact = compile_static(net)
    assert layers(compact) == {"0": (3, 6), "2": (6, 8), "3": (8, 2)}
    assert [row["channel"] for row in compact.report.carriers] == [1, 6]


def test_constants_fold_into_the_bias_of_an_unpadded_grouped_conv(compile_static) -> None:
    net = chain(nn.Conv2d(8, 8, 3, groups=2, bias=False))
    with torch.no_grad():
        net[0].weight[[0, 6]] = 0
        net[0].bias[[0, 6]] = torch.tensor([0.9, 0.8])
    compact = compile_static(net)
    assert layers(compact) == {"0": (3, 6), "2": (6, 8), "3": (8, 2)}
    assert compact.module.get_parameter("2.bias").shape == (8,)


def test_a_transposed_conv_loses_rows_and_columns(compile_static) -> None:
    net = chain(nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1), rows=6)
    with torch.no_grad():
        net[2].weight[[0, 5]] = 0
        net[3].weight[:, [1, 2, 3]] = 0
    compact = compile_static(net)
    assert layers(compact) == {"0": (3, 6), "2": (6, 3), "3": (3, 2)}
    assert compact.module.get_parameter("2.weight").shape == (6, 3, 4, 4)


def test_constants_into_a_transposed_conv_leave_one_carrier(compile_static) -> None:
    net = chain(nn.ConvTranspose2d(8, 6, 3, stride=2), rows=6)
    with torch.no_grad():
        net[0].weight[[0, 6]] = 0
        net[0].bias[[0, 6]] = torch.tensor([0.9, 0.8])
    compact = compile_static(net)
    assert layers(compact)["2"] == (7, 6)
    assert [row["channel"] for row in compact.report.carriers] == [0]


class Split(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        first, second = self.a(image).chunk(2, 1)
        return self.b(first) + self.c(second)


def test_parts_are_slices_where_their_channels_lie_side_by_side(compile_static) -> None:
    net = Split()
    with torch.no_grad():
        net.b.weight[:, [1, 2]] = 0
        net.c.weight[:, 0] = 0
    compact = compile_static(net)
    assert layers(compact) == {"a": (3, 5), "b": (2, 2), "c": (3, 2)}
    assert ops(compact).count("slice") == 2
    assert "index_select" not in ops(compact)


def test_the_only_part_that_is_read_is_the_whole(compile_static) -> None:
    class Half(Split):
        def forward(self, image: Tensor) -> Tensor:
            return self.c(self.a(image).split(4, 1)[1])

    compact = compile_static(Half())
    assert layers(compact) == {"a": (3, 4), "c": (4, 2)}
    assert ops(compact) == ["conv2d", "conv2d"]


class ShuffledUnit(nn.Module):
    """A shuffle and a split, as between two units of ShuffleNet."""

    def __init__(self, spelling: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.spelling = spelling
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.a(image)
        n, c, h, w = x.shape
        y = x.view(n, 2, 4, h, w)
        if self.spelling == 0:
            y = y.transpose(1, 2).contiguous().view(n, -1, h, w)
        elif self.spelling == 1:
            y = y.permute(0, 2, 1, 3, 4).reshape(n, c, h, w)
        elif self.spelling == 2:
            y = y.transpose(2, 1).flatten(1, 2)
        else:
            y = torch.channel_shuffle(x, 2)
        first, second = y.chunk(2, 1)  # channels 0 4 1 5 and 2 6 3 7 of x
        return self.b(first) + self.c(second)


@pytest.mark.parametrize("spelling", range(4))
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_shuffle_followed_by_a_split_is_one_selection(spelling: int, dynamic: bool) -> None:
    net = ShuffledUnit(spelling).eval()
    with torch.no_grad():
        net.b.weight[:, [0, 1]] = 0  # channels 0 and 4: 1 and 5 are left
        net.c.weight[:, [1, 3]] = 0  # channels 6 and 7: 2 and 3 are left
    compact = compress(net, torch.rand(2, 3, 8, 8), dynamic=dynamic)
    assert compact.report.opaque == []
    assert layers(compact) == {"a": (3, 4), "b": (2, 2), "c": (2, 2)}
    found = [name for name in ops(compact) if name in ("view", "transpose", "slice", "permute")]
    assert found == ["slice"]  # channels 2, 3 of the stored 1, 2, 3, 5
    assert ops(compact).count("index_select") == 1


def test_a_view_that_mixes_channels_and_positions_stays_opaque(compile_static) -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, image: Tensor) -> Tensor:
            x = self.a(image)
            n, c, h, w = x.shape
            return self.b(x.view(n, h, w, c).transpose(1, 2).reshape(n, c, h, w))

    net = Mixing()
    with torch.no_grad():
        net.b.weight[:, 4:] = 0
    compact = compile_static(net)
    assert layers(compact)["a"] == (3, 8)
    assert compact.report.opaque


def test_compiling_a_grouped_network_twice_changes_nothing(compile_static) -> None:
    from random_grouped_nets import RandomGroupedNet, randomise_grouped

    for seed in (3, 5, 7, 8):
        once = compile_static(randomise_grouped(RandomGroupedNet(seed), seed), 2, 3, 16, 16)
        twice = compile_static(once.module, 2, 3, 16, 16)
        assert twice.report.after == once.report.after


def test_census_counts_the_groups_of_grouped_convs(compile_static) -> None:
    net = chain(nn.Conv2d(8, 12, 3, padding=1, groups=4), rows=12)
    with torch.no_grad():
        net[3].weight[:, 3:6] = 0
        net[2].weight[:3, 1] = 0
    census = compile_static(net).report.census
    assert census["num_groups"] == 3 + 8 + 12
    assert census["zero_groups"] == 1 + 3
    assert census["num_filters"] == 8 + 12 + 2
    assert census["removable_channels"] == 2 + 3


def test_groups_of_very_unequal_rest_are_not_filled_up(compile_static) -> None:
    net = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 3, groups=4), nn.Conv2d(16, 2, 1))
    with torch.no_grad():
        net[1].weight[4:, 1:] = 0  # groups 1 to 3 read one channel of four
        net[2].weight[:, [5, 6, 7, 9, 10, 11, 13, 14, 15]] = 0  # and one of their rows is read
    # Filled up, 4 groups of 4 rows and 4 columns are 64 kernels; dense, 7 rows and 7 columns 49;
    # split, 16 and 3.
    for objective, written in (("macs", "split"), (NoGroups(), "ungrouped")):
        compact = compile_static(net, objective=objective)
        assert layers(compact) == {"0": (3, 7), "1": (7, 7), "2": (7, 2)}
        assert list(compact.plan[written]) == ["conv2d_1"]
    with torch.no_grad():
        net[1].weight[0:4] = 0  # three even groups of one row and one column are 3 kernels
        net[1].bias[0:4] = 0
    assert layers(compile_static(net, objective="macs"))["1"] == (3, 3)


class SlicedGroups(nn.Module):
    """A grouped convolution that reads a slice of a value of which others read more."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 16, 1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.head, self.other = nn.Conv2d(8, 2, 1), nn.Conv2d(16, 2, 1)
        with torch.no_grad():
            self.grouped.weight[:, 2:] = 0  # both groups read their first two channels
            self.other.weight[:, [*range(4), *range(8, 16)]] = 0  # group 0 is stored whole

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.stem(image)
        return {"a": self.head(self.grouped(x[:, 4:12])), "b": self.other(x)}


@pytest.mark.parametrize("gather", [True, False])
def test_groups_of_a_slice_stay_equal(compile_static, gather: bool) -> None:
    compact = compile_static(SlicedGroups(), gather=gather)
    assert layers(compact) == {"stem": (3, 6), "grouped": (4, 8), "head": (8, 2), "other": (6, 2)}
