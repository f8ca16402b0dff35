"""Calls of one layer that are not at work, or not in all rows, keep nothing for the others."""

import pytest
import torch
from torch import Tensor, nn

from compactmtl.compiler import compress
from compactmtl.compiler.rules.joint import Joint
from compactmtl.errors import VerificationError

IMAGE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Siamese(nn.Module):
    """One layer on two values, with a head each."""

    def __init__(self, layer: nn.Module, *, padding: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)
        self.layer = layer
        self.head_a, self.head_b = (nn.Conv2d(6, 2, 3, padding=padding) for _ in "ab")

    def forward(self, image: Tensor) -> Tensor:
        a, b = self.layer(self.a(image)), self.layer(self.b(image))
        return self.head_a(a) + self.head_b(b)


def make(kind: str, padding: int = 1) -> nn.Module:
    torch.manual_seed(1)
    groups = {"conv": 1, "grouped": 2, "depthwise": 6}[kind]
    return nn.Conv2d(6, 6, 3, padding=padding, groups=groups)


def constant(layer: nn.Conv2d, values: dict[int, float]) -> None:
    """Let a layer make constants in some channels."""
    with torch.no_grad():
        for channel, value in values.items():
            layer.weight[channel] = 0
            layer.bias[channel] = value


def check_twice(net: nn.Module, **settings) -> dict[str, tuple[int, int]]:
    """Compile twice; return the widths of the layers."""
    net.eval()
    once = compress(net, IMAGE, objective="macs", **settings)
    torch.testing.assert_close(once.module(IMAGE), net(IMAGE), rtol=1e-4, atol=1e-5)
    twice = compress(once.module, IMAGE, objective="macs", **settings)
    assert twice.report.after == once.report.after
    return {row["name"]: (row["in_after"], row["out_after"]) for row in once.report.layers}


@pytest.mark.parametrize("kind", ["conv", "grouped", "depthwise"])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_call_that_nobody_reads_says_nothing_of_the_layer(kind: str, padding: int) -> None:
    def net(*, both: bool) -> Siamese:
        made = Siamese(make(kind, padding))
        constant(made.a, {0: 0.5, 1: 0.7, 4: 0.0})
        with torch.no_grad():
            made.head_b.weight.zero_()
            made.head_a.weight[:, 3] = 0
        if not both:
            made.b = nn.Identity()
            made.forward = lambda image: made.head_a(made.layer(made.a(image)))
        return made

    both, alone = check_twice(net(both=True)), check_twice(net(both=False))
    assert both["layer"] == alone["layer"] < (6, 6)
    assert both["b"] == (0, 0)


@pytest.mark.parametrize("padding", [0, 1])
def test_a_call_of_which_only_constants_are_read_says_nothing_of_the_layer(padding: int) -> None:
    net = Siamese(make("conv", padding))
    constant(net.layer, {0: 0.3, 1: -0.4})
    constant(net.a, {0: 0.5, 1: 0.7})
    with torch.no_grad():
        net.head_b.weight[:, 2:] = 0  # of the second call it reads the constants alone
    # 0 and 1 come in as constants: both fold, with a border one of them carries both
    assert check_twice(net)["layer"] == (4 + padding, 4)


@pytest.mark.parametrize("padding", [0, 1])
def test_a_column_counts_only_where_a_live_row_uses_it(padding: int) -> None:
    net = Siamese(make("conv", padding))
    constant(net.a, {0: 0.0})  # varies in the second call
    with torch.no_grad():
        net.layer.weight[1:, 0] = 0  # row 0 alone uses it,
        net.head_b.weight[:, 0] = 0  # which nobody reads of the second call
    assert check_twice(net)["layer"] == (5, 6)


class TwoConstants(Siamese):
    """Column 0 is a constant of the first call alone, and only used there; column 1 is of both."""

    def __init__(self) -> None:
        super().__init__(make("conv"))
        constant(self.a, {0: 0.9, 1: 0.5})
        constant(self.b, {1: 0.5})
        with torch.no_grad():
            self.layer.weight[1:, 0] = 0
            self.head_b.weight[:, 0] = 0


def test_a_carrier_is_a_constant_of_every_call() -> None:
    assert check_twice(TwoConstants())["layer"] == (6, 6)


def test_a_carrier_of_some_calls_would_be_noticed(monkeypatch) -> None:
    monkeypatch.setattr(Joint, "constants", property(lambda joint: joint.coming))
    with pytest.raises(VerificationError):
        compress(TwoConstants().eval(), IMAGE, objective="macs")


def test_all_calls_dead_and_none_left() -> None:
    net = Siamese(make("conv"))
    with torch.no_grad():
        net.head_a.weight.zero_()
        net.head_b.weight.zero_()
    assert set(check_twice(net).values()) == {(0, 0)}


def test_what_calls_have_in_common_does_not_depend_on_their_order_and_only_grows() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw() -> Joint:
        bits = torch.rand(3, 8, generator=generator) < 0.5
        levels = torch.randint(0, 3, (8,), generator=generator).double()
        coming = torch.where(bits[2], levels, torch.nan)
        border = bool(torch.rand((), generator=generator) < 0.5)
        return Joint.of_call(bits[0], bits[1], coming, has_border=border)

    for _ in range(50):
        a, b, c = draw(), draw(), draw()
        assert a.with_call(b).equals(b.with_call(a))
        assert a.with_call(b).with_call(c).equals(a.with_call(b.with_call(c)))
        both = a.with_call(b)
        assert both.with_call(a).equals(both)
        assert not (a.rows & ~both.rows).any()
        assert not (a.columns & ~both.columns).any()
        assert not (a.coming.isnan() & ~both.coming.isnan()).any()
