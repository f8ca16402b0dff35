"""Rules from outside: asked first, verified as ours, and named where they are wrong."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, fx, nn

from compactmtl.compiler import compress
from compactmtl.compiler.rules import (
    ChannelSets,
    Facts,
    OneByOne,
    Rule,
    channelwise,
    none_constant,
    one_input,
)
from compactmtl.errors import CompilerError, PartError, UsageError, VerificationError

IMAGE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", autouse=True)
def ops() -> Iterator[None]:
    """Register two ops: one works on each channel alone, the other is called as one of ATen's."""
    with torch.library._scoped_library("ourops", "DEF") as library:
        library.define("swirl(Tensor x) -> Tensor")
        library.define("relu(Tensor x) -> Tensor")
        library.impl(
            "swirl", lambda x: x * x.mean((2, 3), keepdim=True), "CompositeExplicitAutograd"
        )
        library.impl("relu", lambda x: x.flip(1), "CompositeExplicitAutograd")
        for name in ("swirl", "relu"):
            torch.library.register_fake(f"ourops::{name}", torch.empty_like, lib=library)
        yield


class Net(nn.Module):
    """A convolution, an op of somebody's own, a reader with zero groups."""

    def __init__(self, op: str = "swirl") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.op = nn.Conv2d(3, 8, 3), op
        self.norm, self.head = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)
        with torch.no_grad():
            self.norm.weight[:, 2:5] = 0

    def forward(self, image: Tensor) -> Tensor:
        x = getattr(torch.ops.ourops, self.op)(self.body(image))
        return self.head(torch.relu(self.norm(x)))


class Swirl(OneByOne):
    """Its output channel c comes from input channel c alone."""

    ops = frozenset({"ourops::swirl"})

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """A constant k becomes k * k."""
        return facts.constants[channelwise(node)].square()


def body_rows(rules: list[Rule], op: str = "swirl") -> int:
    net = Net(op)
    compact = compress(net, IMAGE, dynamic=False, objective="macs", rules=rules)
    torch.testing.assert_close(compact.module(IMAGE), net(IMAGE), rtol=1e-4, atol=1e-5)
    assert compact.report.rules == [type(rule).__name__ for rule in rules]
    return compact.module.get_parameter("body.weight").shape[0]


def test_an_op_of_ones_own_is_opaque_until_a_rule_takes_it() -> None:
    assert body_rows([]) == 8
    assert body_rows([Swirl()]) == 5


def test_an_op_that_is_called_as_one_of_ours_is_another_op() -> None:
    net = Net("relu")
    compact = compress(net, IMAGE, dynamic=False)
    assert [row["op"] for row in compact.report.opaque] == ["ourops::relu"]
    assert body_rows([], "relu") == 8


class SaysZero(Swirl):
    """Wrong: says that the second channel is the constant 0."""

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Lie."""
        known = none_constant(facts.num_channels(node))
        known[1] = 0.0
        return known


class ReadsTooFew(Swirl):
    """Wrong: never reads the first channel."""

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Leave the first channel out."""
        live = facts.live[node].clone()
        live[0] = False
        return one_input(node, live)

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need them all: what is stored and dead holds anything."""
        return one_input(node, needed)


class SaysTheWrongOrder(Swirl):
    """Wrong: says that the channels come out the other way round."""

    def lower(self, node: fx.Node, lowering: Any) -> tuple[int, ...]:
        """Turn the layout round."""
        return tuple(reversed(super().lower(node, lowering)))


class ChangesTheOp(Swirl):
    """Wrong: replaces the op by another one."""

    def lower(self, node: fx.Node, lowering: Any) -> tuple[int, ...]:
        """Compute x instead."""
        node.target, node.args = torch.ops.aten.alias.default, (node.args[0],)
        return super().lower(node, lowering)


class CannotRun(Swirl):
    """Wrong: replaces the op by one that takes no images."""

    def lower(self, node: fx.Node, lowering: Any) -> tuple[int, ...]:
        """Transpose, which is for matrices."""
        node.target = torch.ops.aten.t.default
        return super().lower(node, lowering)


class StoresTooFew(Swirl):
    """Stores one channel less than it was asked for."""

    def lower(self, node: fx.Node, lowering: Any) -> tuple[int, ...]:
        """Forget the last channel."""
        return super().lower(node, lowering)[:-1]


WRONG = [SaysZero, ReadsTooFew, SaysTheWrongOrder, ChangesTheOp, CannotRun, StoresTooFew]


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_rule_is_caught_and_named(kind) -> None:
    with pytest.raises(VerificationError) as error:
        compress(Net(), IMAGE, dynamic=False, objective="macs", rules=[kind()])
    message = error.value.message
    assert f"rule {kind.__name__}" in message
    assert "`swirl`" in message
    assert "test_foreign_rules.py:" in message
    assert message.endswith("nothing was written")


class Crashes(Swirl):
    """Fails with an error of its own."""

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Look up what is not there."""
        return {}["swirl"]


class SpeaksOfFewer(Swirl):
    """Returns constants of another size."""

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Forget a channel."""
        return none_constant(facts.num_channels(node) - 1)


def test_what_a_rule_raises_is_one_line_with_its_place() -> None:
    with pytest.raises(PartError, match=r"rule Crashes failed in `constants`: KeyError.*\.py:\d+"):
        compress(Net(), IMAGE, dynamic=False, rules=[Crashes()])
    with pytest.raises(CompilerError, match=r"rule SpeaksOfFewer at `swirl` speaks of \(7,\)"):
        compress(Net(), IMAGE, dynamic=False, rules=[SpeaksOfFewer()])


def test_what_a_rule_leads_to_elsewhere_names_the_rules(monkeypatch) -> None:
    monkeypatch.setitem(compress.__globals__, "make_plan", lambda *_: {}["channel 7"])
    with pytest.raises(KeyError):
        compress(Net(), IMAGE, dynamic=False)
    with pytest.raises(PartError, match=r"compiling fails with Swirl: KeyError: 'channel 7'"):
        compress(Net(), IMAGE, dynamic=False, rules=[Swirl()])


class WithoutOps(Rule):
    """Takes no op."""

    ops: ClassVar[frozenset[str]] = frozenset()
    constants = reads = lower = Swirl.constants


@pytest.mark.parametrize("rule", [Swirl, "Swirl", WithoutOps()])
def test_what_is_no_rule_is_refused(rule) -> None:
    with pytest.raises(UsageError, match=r"expected an object whose class derives from"):
        compress(Net(), IMAGE, dynamic=False, rules=[rule])
