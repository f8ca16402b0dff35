"""Dead branches and dead layers solved by hand: all of them goes but one number per channel."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.compiler import compress

SETTINGS = [
    {"objective": "latency"}, {"objective": "macs"}, {"objective": "latency", "gather": False},
    {"objective": "macs", "dynamic": True},
]  # fmt: skip


def layers(compact) -> dict[str, tuple[int, int]]:
    return {row["name"]: (row["in_after"], row["out_after"]) for row in compact.report.layers}


def ops(compact) -> list[str]:
    nodes = [node for node in compact.module.graph.nodes if node.op == "call_function"]
    names = [str(node.target).split(".")[1] for node in nodes if "aten" in str(node.target)]
    return [name for name in names if name != "sym_size"]


def compiled(net: nn.Module, *shape: int, **settings):
    """Compile, check against the net at another size where sizes are free, compile once more."""
    settings = {"dynamic": False, **settings}
    example = torch.rand(shape or (2, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    compact = compress(net.eval(), example, **settings)
    if settings["dynamic"]:
        other = torch.rand(3, 3, 24, 16)
        expected, got = net(other), compact.module(other)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    again = compress(compact.module, example, **settings)
    assert again.report.after == compact.report.after
    assert ops(again) == ops(compact)
    return compact


def unit(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
        nn.Conv2d(inner, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
    )  # fmt: skip


class Blocks(nn.Module):
    """A stem, three residual blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 1)
        self.blocks = nn.ModuleList(unit(6, 4) for _ in range(3))
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        for block in self.blocks:
            x = F.relu(x + block(x))
        return self.head(x)


def kill(norm: nn.BatchNorm2d, bias: float) -> None:
    """Let a batch norm return ``bias`` whatever comes in."""
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.copy_(bias * torch.linspace(0.5, 1.5, norm.num_features))


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_dead_block_leaves_one_number_per_channel(settings) -> None:
    net = Blocks()
    kill(net.blocks[1][4], 0.7)
    compact = compiled(net, **settings)
    assert {name: layers(compact)[name] for name in ("blocks.1.0", "blocks.1.3")} == {
        "blocks.1.0": (0, 0), "blocks.1.3": (0, 0)
    }  # fmt: skip
    alive = sum(p.numel() for n, p in net.named_parameters() if not n.startswith("blocks.1"))
    assert compact.report.after.num_params == alive + 6
    assert ops(compact).count("batch_norm") == 4


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_dead_block_that_adds_nothing_leaves_nothing(settings) -> None:
    net = Blocks()
    kill(net.blocks[1][4], 0.0)
    compact = compiled(net, **settings)
    alive = sum(p.numel() for n, p in net.named_parameters() if not n.startswith("blocks.1"))
    assert compact.report.after.num_params == alive
    assert ops(compact).count("add") == 2


def test_a_block_goes_that_is_constant_where_it_matters() -> None:
    net = Blocks()
    last = net.blocks[2]
    with torch.no_grad():
        last[4].weight[:4] = 0
        net.head.weight[:, 4:] = 0  # nobody reads what the block still computes
    compact = compiled(net)
    assert layers(compact)["blocks.2.0"] == (0, 0)
    assert layers(compact)["blocks.2.3"] == (0, 0)


@pytest.mark.parametrize("how", ["sub", "rsub", "mul", "maximum", "minimum"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_any_op_takes_a_constant_operand(how: str, dynamic: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, image: Tensor) -> Tensor:
            x, k = self.a(image), self.b(image)
            return k - x if how == "rsub" else getattr(torch, how)(x, k)

    net = Net()
    nn.init.zeros_(net.b.weight)
    compact = compiled(net, dynamic=dynamic)
    assert layers(compact) == {"a": (3, 4), "b": (0, 0)}
    assert compact.report.after.num_params == 3 * 4 * 9 + 4 + 4


class Gated(nn.Module):
    """Squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(3, 6, 3, padding=1)
        self.one, self.two = nn.Conv2d(6, 3, 1), nn.Conv2d(3, 6, 1)
        self.b = nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.a(image)
        gate = self.two(self.one(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.b(x * gate)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_dead_gate_leaves_one_number_per_channel(settings) -> None:
    net = Gated()
    nn.init.zeros_(net.two.weight)
    compact = compiled(net, **settings)
    assert layers(compact) == {"a": (3, 6), "one": (0, 0), "two": (0, 0), "b": (6, 2)}
    assert ops(compact) == ["conv2d", "mul", "conv2d"]


def test_a_gate_of_one_leaves_nothing() -> None:
    class Open(Gated):
        def forward(self, image: Tensor) -> Tensor:
            x = self.a(image)
            return self.b(x * F.hardsigmoid(self.two(self.one(x.mean((2, 3), keepdim=True)))))

    net = Open()
    nn.init.zeros_(net.two.weight)
    nn.init.constant_(net.two.bias, 4.0)
    assert ops(compiled(net)) == ["conv2d", "conv2d"]


def test_a_dead_map_of_gates_leaves_one_number() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1)
            self.map = nn.Sequential(nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1))

        def forward(self, image: Tensor) -> Tensor:
            x = self.a(image)
            return self.b(x * self.map(x).sigmoid())

    net = Attention()
    nn.init.zeros_(net.map[1].weight)
    compact = compiled(net)
    assert layers(compact) == {"a": (3, 6), "map.0": (0, 0), "map.1": (0, 0), "b": (6, 2)}
    assert compact.report.after.num_params == 6 * 3 + 6 + 2 * 6 + 2 + 1


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling with a pooled branch, before a convolution."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(4, 4, 3, padding=d, dilation=d, bias=False), nn.BatchNorm2d(4), nn.ReLU()
            )
            for d in (1, 2)
        )
        self.pooled = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.project = nn.Conv2d(12, 5, kernel, padding=kernel // 2)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        pooled = self.pooled(F.adaptive_avg_pool2d(x, 1))
        pooled = F.interpolate(pooled, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return self.project(torch.cat([*(branch(x) for branch in self.branches), pooled], 1))


@pytest.mark.parametrize("settings", SETTINGS)
def test_dead_pyramid_branches_cost_nothing_before_a_pointwise_convolution(settings) -> None:
    net = Pyramid(1)
    kill(net.branches[1][1], 0.5)
    kill(net.pooled[1], 0.5)
    compact = compiled(net, 2, 3, 16, 16, **settings)
    assert layers(compact) == {
        "stem.0": (3, 4), "branches.0.0": (4, 4), "branches.1.0": (0, 0), "pooled.0": (0, 0),
        "project": (4, 5),
    }  # fmt: skip
    assert ops(compact) == ["conv2d", "batch_norm", "relu", "conv2d", "batch_norm", "relu", "cat",
                            "conv2d"]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS)
def test_dead_pyramid_branches_leave_one_number_before_a_padded_convolution(settings) -> None:
    net = Pyramid(3)
    kill(net.branches[1][1], 0.5)
    kill(net.pooled[1], 0.7)
    compact = compiled(net, 2, 3, 16, 16, **settings)
    assert layers(compact) == {
        "stem.0": (3, 4), "branches.0.0": (4, 4), "branches.1.0": (0, 0), "pooled.0": (0, 0),
        "project": (5, 5),
    }  # fmt: skip
    assert ops(compact).count("repeat") == 1
    assert compact.module.get_parameter("upsample_bilinear2d_constant").numel() == 1


class TwoHeads(nn.Module):
    """A shared encoder, a head at its size and one at the input's."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Conv2d(3, 6, 3, 2, 1)
        self.seg = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 1))
        self.depth = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 1))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.encoder(image)
        depth = F.interpolate(self.depth(x), scale_factor=2, mode="bilinear")
        return {"seg": self.seg(x), "depth": depth}


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_dead_head_leaves_its_constants(settings) -> None:
    net = TwoHeads()
    nn.init.zeros_(net.depth[2].weight)
    compact = compiled(net, **settings)
    assert layers(compact) == {
        "encoder": (3, 6), "seg.0": (6, 6), "seg.2": (6, 4), "depth.0": (0, 0), "depth.2": (0, 0)
    }  # fmt: skip
    assert sorted(ops(compact)) == ["conv2d", "conv2d", "conv2d", "relu", "repeat"]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_network_of_constants_is_tiny(settings) -> None:
    net = TwoHeads()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
    compact = compiled(net, **settings)
    assert set(layers(compact).values()) == {(0, 0)}
    assert ops(compact) == ["repeat", "repeat"]
    assert (compact.report.after.macs, compact.report.after.num_params) == (0, 4 + 1)


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_strided_dead_layer_reads_nothing(dynamic: bool) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, 2, 1), nn.Conv2d(4, 2, 3, padding=1)
    )
    nn.init.zeros_(net[1].weight)
    compact = compiled(net, dynamic=dynamic)
    assert layers(compact) == {"0": (0, 0), "1": (0, 0), "2": (1, 2)}


def test_a_size_without_a_formula_keeps_one_channel() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, 3, padding=1)
            self.c = nn.Conv2d(5, 4, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.c(self.b(F.interpolate(self.a(image), scale_factor=1.5)).relu())

    net = Net()
    nn.init.zeros_(net.c.weight)
    compact = compress(net.eval(), torch.rand(2, 3, 8, 8))
    assert layers(compact) == {"a": (0, 0), "b": (0, 0), "c": (0, 0)}
    assert ops(compact) == ["repeat", "upsample_nearest2d", "repeat"]
    assert compact.module(torch.rand(1, 3, 12, 20)).shape == (1, 4, 18, 30)


@pytest.mark.parametrize("how", ["max", "average", "resize", "norm", "reduce", "pad"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_nothing_between_keeps_a_dead_branch(how: str, dynamic: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a = nn.Conv2d(3, 4, 1)
            self.b, self.dead = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)

        def forward(self, image: Tensor) -> Tensor:
            x = self.dead(self.b(image))
            y = {
                "max": lambda: F.max_pool2d(x, 3, 1, 1),
                "average": lambda: F.interpolate(F.avg_pool2d(x, 2), image.shape[-2:]),
                "resize": lambda: F.interpolate(x, scale_factor=0.5, mode="nearest").repeat(
                    1, 1, 2, 2),
                "norm": lambda: F.gelu(self.norm(x)),
                "reduce": lambda: F.adaptive_avg_pool2d(x, 1),
                "pad": lambda: F.pad(x, (1, 1, 1, 1), mode="reflect")[:, :, 1:-1, 1:-1],
            }[how]()  # fmt: skip
            return self.a(image) + y

    net = Net()
    nn.init.zeros_(net.dead.weight)
    compact = compiled(net, dynamic=dynamic)
    if how == "resize":  # repetition of a computed value is opaque
        assert compact.report.opaque
        return
    assert layers(compact) == {"a": (3, 4), "b": (0, 0), "dead": (0, 0)}
    assert ops(compact) == ["conv2d", "add"]


def test_a_planted_error_is_found() -> None:
    """The oracle that these tests lean on, ``compress`` itself, sees a wrong constant."""
    from compactmtl.compiler.rules.against import AgainstConstant
    from compactmtl.errors import VerificationError

    net = Blocks()
    kill(net.blocks[1][4], 0.7)
    before = AgainstConstant._is_idle
    AgainstConstant._is_idle = lambda self, node, numbers: True
    try:
        with pytest.raises(VerificationError):
            compress(net.eval(), torch.rand(2, 3, 8, 8), dynamic=False)
    finally:
        AgainstConstant._is_idle = before
