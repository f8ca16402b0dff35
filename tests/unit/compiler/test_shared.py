"""Layers that are called several times and tied weights: cut once, for all calls."""

import pytest
import torch
import torch.nn.functional as F
from random_norm_nets import randomise_norms
from torch import Tensor, nn

from compactmtl.compiler import census, compress
from compactmtl.errors import VerificationError


def layers(compact) -> dict[str, tuple[int, int]]:
    return {row["name"]: (row["in_after"], row["out_after"]) for row in compact.report.layers}


def check(net: nn.Module, compact, *shapes: tuple[int, ...]) -> None:
    """Compare at shapes that `compress` has not seen."""
    for shape in shapes:
        image = torch.rand(shape, generator=torch.Generator().manual_seed(1))
        expected, got = net(image), compact.module(image)
        expected = expected if isinstance(expected, dict) else {"": expected}
        got = got if isinstance(got, dict) else {"": got}
        for name, value in expected.items():
            torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-5)


class Pyramid(nn.Module):
    """Three levels of different size, one head for all: RetinaNet's shape."""

    def __init__(self, norm: str = "batch") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.levels = nn.ModuleList([
            nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1),
        ])  # fmt: skip
        made = {"batch": nn.BatchNorm2d, "group": lambda n: nn.GroupNorm(4, n)}[norm]
        self.head = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), made(8), nn.ReLU(),
            nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 1),
        )  # fmt: skip

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        outputs, x = {}, image
        for index, level in enumerate(self.levels):
            x = level(x).relu()
            outputs[f"p{index}"] = self.head(x)
        return outputs


@pytest.fixture
def pyramid() -> Pyramid:
    net = Pyramid()
    with torch.no_grad():
        net.head[0].weight[:, [0, 1, 2]] = 0  # level channels that only the next level reads
        net.head[3].weight[:, [3, 4]] = 0  # goes with head.0's rows and the norm's channels
        net.head[3].weight[5] = 0  # a zero filter, cut off by the ReLU
        net.head[3].bias[5] = -1
        net.levels[1].weight[:, [0, 1]] = 0
        net.levels[2].weight[:, [0]] = 0
    return net.eval()


def test_a_head_on_three_levels_is_cut_once_for_all(pyramid) -> None:
    compact = compress(pyramid, torch.rand(2, 3, 16, 16), objective="macs")
    assert layers(compact) == {
        "levels.0": (3, 6),  # 2 is read by level 1
        "levels.1": (6, 7),  # 1 and 2 by level 2
        "levels.2": (7, 5),
        "head.0": (5, 6),
        "head.3": (6, 5),
        "head.5": (5, 4),
    }
    assert compact.report.opaque == []
    check(pyramid, compact, (1, 3, 16, 16), (2, 3, 24, 40))


def test_the_report_has_a_shared_layer_once_and_the_work_of_all_calls(pyramid) -> None:
    compact = compress(pyramid, torch.rand(2, 3, 16, 16), objective="macs")
    report = compact.report
    rows = {row["name"]: row for row in report.layers}
    assert len(report.layers) == len(rows) == 6
    positions = 16**2 + 8**2 + 4**2
    assert rows["head.0"]["macs_before"] == positions * 9 * 8 * 8
    assert rows["head.0"]["macs_after"] == positions * 9 * 5 * 6
    for key, total in (("macs_before", report.before), ("macs_after", report.after)):
        assert sum(row[key] for row in report.layers) == total.macs
    counted = census(pyramid, torch.rand(2, 3, 16, 16))
    assert counted["num_filters"] == 8 * 4 + 6 + 4
    assert counted["removable_channels"] == 2 + 1 + 3 + 2 + 1
    assert counted == report.census


def test_compiling_again_changes_nothing(pyramid) -> None:
    image = torch.rand(2, 3, 16, 16)
    for objective in ("latency", "macs"):
        once = compress(pyramid, image, objective=objective)
        twice = compress(once.module, image, objective=objective)
        assert twice.report.after == once.report.after
        assert layers(twice) == layers(once)


def test_a_shared_parameter_stays_one_and_its_gradients_add(pyramid) -> None:
    module = compress(pyramid, torch.rand(2, 3, 16, 16)).module
    names = [name for name in module.state_dict() if name.startswith("head.0")]
    assert names == ["head.0.weight", "head.0.bias"]
    weight = dict(module.named_parameters())["head.0.weight"]
    image, parts = torch.rand(1, 3, 16, 16), []
    for level in ("p0", "p1", "p2"):
        module(image)[level].sum().backward()
        parts.append(weight.grad.clone())
        weight.grad = None
    sum(value.sum() for value in module(image).values()).backward()
    torch.testing.assert_close(weight.grad, sum(parts))
    assert all(part.abs().max() > 0 for part in parts)
    module.train()
    module(image)  # the norm updates its one set of statistics
    torch.optim.SGD(module.parameters(), lr=0.1).step()


def test_a_call_whose_result_is_dead_goes_and_the_others_stay() -> None:
    class Net(Pyramid):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Conv2d(12, 2, 1)
            nn.init.zeros_(self.last.weight[:, 6:])

        def forward(self, image: Tensor) -> Tensor:
            a = self.levels[0](image)
            b = F.interpolate(self.levels[1](a), scale_factor=2)
            return self.last(torch.cat([self.head[3](a), self.head[3](b)], 1))

    with torch.no_grad():
        net = Net().eval()
    compact = compress(net, torch.rand(2, 3, 16, 16), dynamic=False)
    assert layers(compact)["levels.1"] == (0, 0)
    assert layers(compact)["head.3"] == (8, 6)
    check(net, compact, (2, 3, 16, 16))


class Recurrent(nn.Module):
    """The input of the second call is the output of the first."""

    def __init__(self, *, padding: int = 1, calls: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 1)
        self.cell = nn.Conv2d(6, 6, 3, padding=padding)
        self.head = nn.Conv2d(6, 2, 1)
        self.calls = calls

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        for _ in range(self.calls):
            x = self.cell(x).relu()
        return self.head(x)


def test_a_recurrent_layer_has_the_rows_of_all_calls_and_the_columns_of_all_calls() -> None:
    net = Recurrent().eval()
    with torch.no_grad():
        net.cell.weight[:, [0, 1]] = 0
        net.head.weight[:, [1, 2]] = 0
    compact = compress(net, torch.rand(2, 3, 8, 8), objective="macs")
    # the cell reads 2..5; the head reads 0, 3, 4, 5: only row 1 is nobody's
    assert layers(compact) == {"stem": (3, 4), "cell": (4, 5), "head": (4, 2)}
    check(net, compact, (1, 3, 8, 8), (2, 3, 11, 9))


@pytest.mark.parametrize("padding", [0, 1])
def test_constants_fold_where_they_are_the_same_in_all_calls(padding: int) -> None:
    net = Recurrent(padding=padding, calls=2).eval()
    with torch.no_grad():
        net.stem.weight[:3] = 0  # constants of the first call only
        net.stem.bias[:3] = torch.tensor([0.5, 0.7, 0.3])
        net.cell.weight[[0, 1]] = 0  # constants of both calls
        net.cell.bias[:2] = torch.tensor([0.5, 0.7])
    compact = compress(net, torch.rand(2, 3, 8, 8), objective="macs")
    # 0 and 1 come into both calls as 0.5 and 0.7; without padding they go into the bias, with it
    # 1 carries both. 2 is a constant of the first call alone, so it is read.
    assert layers(compact) == {
        "stem": (3, 4 + padding), "cell": (4 + padding, 4 + padding), "head": (4, 2),
    }  # fmt: skip
    carriers = [(row["layer"], row["channel"]) for row in compact.report.carriers]
    assert carriers == [("cell", 1)] * padding
    check(net, compact, (1, 3, 8, 8), (2, 3, 12, 9))


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_heads_with_norms_and_random_zeros_compile_exactly(norm: str) -> None:
    net = randomise_norms(Pyramid(norm), 1)
    for options in ({"objective": "macs"}, {"gather": False}):
        compact = compress(net, torch.rand(2, 3, 16, 16), **options)
        assert compact.report.opaque == []
        assert compact.report.after.num_params < 0.8 * compact.report.before.num_params
        check(net, compact, (1, 3, 20, 16))


class OnTwoLevels(nn.Module):
    """Any layer on two values of different make: one of a conv, one a cat or the input itself."""

    def __init__(self, layer: nn.Module, kind: str = "conv") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one = nn.Conv2d(8, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8 if kind != "cat" else 4, 3, 2, 1)
        self.layer, self.kind = layer, kind
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        a = self.one(image).relu()
        b = self.two(a)
        if self.kind == "input":
            b = image
        elif self.kind == "cat":
            b = torch.cat([b, b.sigmoid()], 1)
        elif self.kind == "opaque":
            b = b.flip(1)
        return {"a": self.head(self.layer(a)), "b": self.head(self.layer(b)), "c": self.two(a)}


LAYERS = {
    "conv": lambda: nn.Conv2d(8, 8, 3, padding=1),
    "depthwise": lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8),
    "grouped": lambda: nn.Conv2d(8, 8, 3, padding=1, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(8, 8, 2, stride=2),
    "batch": lambda: nn.BatchNorm2d(8),
    "group": lambda: nn.GroupNorm(4, 8),
    "prelu": lambda: nn.PReLU(8),
}


@pytest.mark.parametrize("kind", ["conv", "input", "cat", "opaque"])
def test_every_kind_of_layer_on_every_kind_of_value(kind: str, compile_static) -> None:
    for seed, make in enumerate(LAYERS.values()):
        net = randomise_norms(OnTwoLevels(make(), kind), seed)
        objective, gather = ("macs", "latency")[seed % 2], seed % 3 > 0
        compact = compile_static(net, 2, 8, 8, 8, objective=objective, gather=gather)
        assert [row["op"] for row in compact.report.opaque] == ["flip"] * (kind == "opaque")
        check(net, compact, (2, 8, 8, 8))


class Tied(nn.Module):
    """`b.weight = a.weight`, with biases of their own."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(5, 8)
        self.a, self.b = nn.Linear(8, 8, bias=bias), nn.Linear(8, 8, bias=bias)
        self.b.weight = self.a.weight
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(self.stem(x)).relu()).relu())


@pytest.mark.parametrize("bias", [False, True])
def test_a_tie_between_two_layers_is_kept(bias: bool, compile_static) -> None:
    net = Tied(bias=bias)
    with torch.no_grad():
        net.a.weight[:, [0, 1, 2]] = 0
        net.head.weight[:, [0, 1]] = 0
    compact = compile_static(net, 4, 5)
    # rows: 3..7 are read by `b`, 2..7 by the head
    assert layers(compact) == {"stem": (5, 5), "b": (5, 6), "head": (6, 2)}
    assert compact.report.after.num_params == 30 + 30 + 12 * bias + 14
    assert sum(row["macs_after"] for row in compact.report.layers) == compact.report.after.macs
    check(net, compact, (4, 5))


class Mixed(nn.Module):
    """One weight in two kinds of layer."""

    def __init__(self, second: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(6, 6, 1)
        self.stem, self.second = nn.Conv2d(3, 6, 1), second

    def forward(self, image: Tensor) -> Tensor:
        x = self.a(self.stem(image))
        if self.second == "transposed":
            return F.conv_transpose2d(x, self.a.weight, self.a.bias)
        if self.second == "linear":
            return F.linear(x.mean((2, 3)), self.a.weight.flatten(1))
        if self.second == "unbatched":
            return self.a(x[0])
        if self.second == "bias":
            return F.conv2d(x, self.stem.weight.new_ones(6, 6, 1, 1), self.a.bias)
        return F.conv2d(x, self.a.weight, self.stem.bias)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ("transposed", "`a.weight` is used by several kinds of op (`conv_transpose2d` is another)"),
        ("linear", "`a.weight` is used by several kinds of op (`flatten` is another)"),
        ("unbatched", "`a.weight` is used by `conv2d_2` too, which stays whole: its input has"),
        ("bias", "`a.bias` is used by layers with different weights (`conv2d_2`)"),
        ("stem", "`stem.bias` is used by layers with different weights (`conv2d`)"),
    ],
)
def test_what_cannot_be_cut_together_stays_whole_and_says_why(
    second: str, why: str, compile_static
) -> None:
    net = Mixed(second)
    with torch.no_grad():
        net.a.weight[:, :3] = 0
        net.a.weight[:2] = 0
    compact = compile_static(net, 1, 3, 8, 8)
    assert layers(compact)["a"] == (6, 6)
    assert any(row["why"].startswith(why) for row in compact.report.opaque)
    assert all(row["source"].startswith(__file__) for row in compact.report.opaque)
    check(net, compact, (1, 3, 8, 8))


def test_a_bias_that_is_made_has_a_name_of_its_own(compile_static) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, image: Tensor) -> Tensor:
            x = F.conv2d(self.a(image), self.b.weight)  # without its bias, which comes later
            return x.sigmoid() + self.b.bias.view(-1, 1, 1)

    net = Net()
    with torch.no_grad():
        net.a.weight[:2] = 0
    compact = compile_static(net)
    assert layers(compact) == {"a": (3, 2), "b": (2, 4)}
    check(net, compact, (2, 3, 8, 8))


def test_calls_planned_each_for_itself_would_be_noticed(monkeypatch) -> None:
    from compactmtl.compiler import spaces

    net = Recurrent().eval()
    with torch.no_grad():
        net.cell.weight[:, [0, 1]] = 0
        net.head.weight[:, [1, 2]] = 0
    monkeypatch.setattr(spaces, "is_shared", lambda node, facts: False)
    monkeypatch.setattr(spaces, "cut_calls", lambda node, facts: [node])
    with pytest.raises(AssertionError, match=r"two calls of one layer disagree about `cell\."):
        compress(net, torch.rand(2, 3, 8, 8), objective="macs", dynamic=False)


@pytest.mark.parametrize("wrong", ["live_rows", "incoming"])
def test_facts_of_one_call_taken_for_all_would_be_noticed(wrong: str, monkeypatch) -> None:
    from compactmtl.compiler.rules.base import channelwise
    from compactmtl.compiler.rules.layer import Layer

    net = Recurrent(calls=2).eval()
    with torch.no_grad():
        net.stem.weight[:3] = 0
        net.head.weight[:, [1, 2]] = 0
    alone = {
        "live_rows": lambda self, node, facts: facts.live[node],
        "incoming": lambda self, node, facts: facts.constants[channelwise(node)],
    }
    monkeypatch.setattr(Layer, wrong, alone[wrong])
    with pytest.raises((AssertionError, VerificationError)):
        compress(net, torch.rand(2, 3, 8, 8), dynamic=False)
