"""Small nets of norms, parameters, views and pads solved by hand: no channel more, no less."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def layers(compact) -> dict[str, tuple[int, int]]:
    return {row["name"]: (row["in_after"], row["out_after"]) for row in compact.report.layers}


class Between(nn.Module):
    """Two 1x1 convolutions with something in between."""

    def __init__(self, middle, *, width: int = 6, out: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(3, width, 1)
        self.middle = middle
        self.b = nn.Conv2d(out or width, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.b(self.middle(self.a(image)))


class Scaled(nn.Module):
    """A layer scale, in the ways people write it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.scale = nn.Parameter(torch.rand((6, 1, 1) if how == "plain" else 6) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "plain":
            return self.scale * x
        if self.how == "indexed":
            return x * self.scale[:, None, None]
        if self.how == "viewed":
            return x * self.scale.view(1, 6, 1, 1)
        return (x.permute(0, 2, 3, 1) * self.scale).permute(0, 3, 1, 2)


@pytest.mark.parametrize("how", ["plain", "indexed", "viewed", "last"])
def test_a_layer_scale_is_cut_and_its_zeros_free_their_input(compile_static, how) -> None:
    net = Between(Scaled(how))
    with torch.no_grad():
        net.b.weight[:, 0] = 0
        net.middle.scale[[3, 5]] = 0
    compact = compile_static(net)
    assert layers(compact) == {"a": (3, 3), "b": (3, 2)}
    assert compact.module.get_parameter("middle.scale").numel() == 3
    assert not compact.report.opaque


def test_a_bias_like_parameter_makes_a_constant_of_a_zero_filter(compile_static) -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.rand(1, 6, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.shift

    net = Between(Shifted())
    with torch.no_grad():
        net.a.weight[[1, 2]] = 0
    assert layers(compile_static(net)) == {"a": (3, 4), "b": (4, 2)}


def test_a_parameter_that_differs_over_positions_makes_no_constant(compile_static) -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(torch.rand(1, 6, 8, 8))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.place

    net = Between(Embedded())
    with torch.no_grad():
        net.a.weight[[1, 2]] = 0
        net.b.weight[:, 5] = 0
    assert layers(compile_static(net)) == {"a": (3, 5), "b": (5, 2)}


def test_a_map_of_gates_leaves_the_channels_alone(compile_static) -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Conv2d(6, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.gate(x).sigmoid()

    net = Between(Gate())
    with torch.no_grad():
        net.b.weight[:, [0, 4]] = 0
        net.middle.gate.weight[:, [0, 4, 5]] = 0
    assert layers(compile_static(net))["a"] == (3, 4)


class Block(nn.Module):
    """A ConvNeXt block without its depthwise convolution."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, width, 1)
        self.norm = nn.LayerNorm(width)
        self.one = nn.Linear(width, 12)
        self.two = nn.Linear(12, width)
        self.scale = nn.Parameter(torch.rand(width) + 0.5)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        y = self.two(F.gelu(self.one(self.norm(x.permute(0, 2, 3, 1))))) * self.scale
        return self.head(x + y.permute(0, 3, 1, 2))


def test_layer_norm_keeps_its_input_whole_and_the_hidden_channels_go(compile_static) -> None:
    net = Block()
    with torch.no_grad():
        net.two.weight[:, :5] = 0  # hidden channels that nobody reads
        net.one.weight[:, 2] = 0  # a normalised channel that nobody reads: the norm needs it still
        net.head.weight[:, 4] = 0  # a stream channel that only the norm reads
    compact = compile_static(net, gather=False)
    assert layers(compact) == {"stem": (3, 6), "one": (6, 7), "two": (7, 6), "head": (6, 2)}
    assert not compact.report.opaque
    gathered = layers(compile_static(net, objective="macs"))
    assert gathered == {"stem": (3, 6), "one": (5, 7), "two": (7, 5), "head": (5, 2)}


def test_a_block_of_scale_zero_goes(compile_static) -> None:
    net = Block()
    with torch.no_grad():
        net.scale.zero_()
    assert layers(compile_static(net)) == {
        "stem": (3, 6), "one": (0, 0), "two": (0, 0), "head": (6, 2)
    }  # fmt: skip


def test_a_layer_norm_weight_of_zero_leaves_its_bias(compile_static) -> None:
    net = Block()
    with torch.no_grad():
        net.norm.weight[[1, 3]] = 0
        net.norm.bias.uniform_(0.1, 1)
    compact = compile_static(net, objective="macs")
    assert layers(compact)["one"] == (4, 12)


def test_group_norm_goes_by_whole_groups(compile_static) -> None:
    net = Between(nn.GroupNorm(3, 6))
    with torch.no_grad():
        net.b.weight[:, [0, 1, 2]] = 0  # group 0 in whole, group 1 (2, 3) in half
    compact = compile_static(net, gather=False)
    assert layers(compact) == {"a": (3, 4), "b": (4, 2)}
    assert compact.module.get_parameter("middle.weight").numel() == 4
    (norm,) = [n for n in compact.module.graph.nodes if "group_norm" in str(n.target)]
    assert norm.args[1] == 2


def test_a_group_of_constants_is_constant(compile_static) -> None:
    net = Between(nn.GroupNorm(3, 6))
    with torch.no_grad():
        net.middle.weight.uniform_(0.5, 1)
        net.middle.bias.uniform_(0.5, 1)
        net.a.weight[[0, 1, 2]] = 0  # group 0 is constant, group 1 is not
    assert layers(compile_static(net)) == {"a": (3, 4), "b": (4, 2)}


@pytest.mark.parametrize("tracked", [False, True])
def test_instance_norm_goes_channel_by_channel(compile_static, tracked) -> None:
    net = Between(nn.InstanceNorm2d(6, affine=True, track_running_stats=tracked))
    with torch.no_grad():
        net.b.weight[:, 0] = 0
        net.a.weight[1] = 0  # constant: becomes the bias
        net.middle.weight[2] = 0
        net.middle.bias.uniform_(0.1, 1)
    assert layers(compile_static(net)) == {"a": (3, 3), "b": (3, 2)}


class Classifier(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.a = nn.Conv2d(3, 6, 1)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.one = nn.Linear(24, 10)
        self.two = nn.Linear(10, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.pool(self.a(image))
        x = {
            "flatten": lambda: x.flatten(1),
            "view": lambda: x.view(x.shape[0], -1),
            "reshape": lambda: x.reshape(-1, 24),
        }[self.how]()
        return self.two(self.one(x).relu())


@pytest.mark.parametrize("how", ["flatten", "view", "reshape"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_flatten_couples_a_channel_with_a_block_of_features(compile_static, how, dynamic) -> None:
    net = Classifier(how)
    with torch.no_grad():
        net.one.weight[:, 4:8] = 0  # all four positions of channel 1
        net.one.weight[:, 8:11] = 0  # three of channel 2
        net.two.weight[:, [3, 7]] = 0
        net.a.weight[5] = 0  # constant at four positions
    compact = compile_static(net, 2, 3, 8, 8, gather=False, dynamic=dynamic)
    assert layers(compact) == {"a": (3, 4), "one": (16, 8), "two": (8, 3)}
    assert not compact.report.opaque


def test_features_fold_into_channels_by_blocks(compile_static) -> None:
    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a = nn.Linear(5, 24)
            self.b = nn.Conv2d(6, 2, 3, padding=1)

        def forward(self, code: Tensor) -> Tensor:
            return self.b(self.a(code).view(-1, 6, 2, 2))

    net = Generator()
    with torch.no_grad():
        net.b.weight[:, [0, 3]] = 0
    assert layers(compile_static(net, 2, 5)) == {"a": (5, 16), "b": (4, 2)}


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_copying_pads_need_no_carrier(compile_static, mode) -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 3, padding=1, padding_mode=mode))
    with torch.no_grad():
        net[0].weight[[1, 2]] = 0
    compact = compile_static(net)
    assert layers(compact) == {"0": (3, 4), "1": (4, 2)}
    assert not compact.report.opaque


@pytest.mark.parametrize(("value", "kept"), [(0.5, 4), (0.0, 6)])
def test_a_pad_keeps_the_constant_it_pads_with(compile_static, value, kept) -> None:
    net = Between(nn.ConstantPad2d(1, value))
    with torch.no_grad():
        net.a.weight[[1, 2]] = 0
        net.a.bias[[1, 2]] = 0.5
    assert layers(compile_static(net)) == {"a": (3, kept), "b": (kept, 2)}


def test_padded_channels_are_constant(compile_static) -> None:
    class Option(nn.Module):
        """The parameter-free shortcut of small residual networks."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, 4, 1)
            self.one = nn.Conv2d(4, 8, 3, stride=2, padding=1)
            self.head = nn.Conv2d(8, 2, 1)

        def forward(self, image: Tensor) -> Tensor:
            x = self.stem(image)
            return self.head(self.one(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))

    net = Option()
    with torch.no_grad():
        net.one.weight[:, 1] = 0
        net.head.weight[:, [0, 3, 6]] = 0  # stream channel 3 is stem channel 1
    assert layers(compile_static(net, gather=False)) == {
        "stem": (3, 3), "one": (3, 5), "head": (5, 2)
    }  # fmt: skip


def test_pixel_shuffle_goes_by_blocks(compile_static) -> None:
    net = Between(nn.PixelShuffle(2), width=12, out=3)
    with torch.no_grad():
        net.b.weight[:, 1] = 0
    assert layers(compile_static(net)) == {"a": (3, 8), "b": (2, 2)}


def test_softmax_over_channels_stays_opaque(compile_static) -> None:
    net = Between(nn.Softmax(1))
    with torch.no_grad():
        net.b.weight[:, 1:] = 0
    compact = compile_static(net)
    assert layers(compact)["a"] == (3, 6)
    assert [row["op"] for row in compact.report.opaque] == ["softmax"]
