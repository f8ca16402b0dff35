"""Grouped convolutions of which unequal groups are left, written as one convolution per size."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compactmtl.compiler import compress, replay
from compactmtl.compiler.analysis import analyse
from compactmtl.compiler.capture import capture
from compactmtl.compiler.cost import MacsCost, ParamsCost
from compactmtl.compiler.lower import Lowering
from compactmtl.compiler.normalise import normalise
from compactmtl.compiler.regroup import regroup
from compactmtl.compiler.rules.base import channelwise
from compactmtl.compiler.rules.grouped import Grouped
from compactmtl.compiler.rules.split import Split
from compactmtl.errors import CompilerError, VerificationError

IMAGE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CONV = torch.ops.aten.conv2d.default


class Block(nn.Module):
    """A grouped convolution between two pointwise ones; groups 0 and 2 keep more than 1 and 3."""

    def __init__(self, *, shows: bool = False, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 16, 1)
        self.norm = nn.BatchNorm2d(16)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4, bias=bias)
        self.last = nn.Conv2d(16, 2, 1)
        self.shows = shows
        with torch.no_grad():
            self.grouped.weight[4:8, 1:] = 0  # group 1 reads one column of four
            self.grouped.weight[12:, :3] = 0  # group 3 too, another one
            self.last.weight[:, [5, 6, 7, 13, 14, 15]] = 0  # and one of their rows is read
            self.norm.running_var.uniform_(0.5, 1.5)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        y = self.grouped(self.norm(self.first(image)).relu()).relu()
        return {"a": self.last(y), "b": y} if self.shows else {"a": self.last(y)}


def ops(compact) -> list[str]:
    nodes = compact.module.graph.nodes
    return [n.target.overloadpacket.__name__ for n in nodes if n.op == "call_function"]


def shapes(compact) -> dict[str, list[int]]:
    return {name: list(p.shape) for name, p in compact.module.named_parameters()}


def test_each_size_becomes_a_convolution_that_reads_a_slice(compile_static) -> None:
    net = Block()
    compact = compile_static(net, objective="macs")
    found = shapes(compact)
    assert found["grouped.0.weight"] == [8, 4, 3, 3]  # groups 0 and 2
    assert found["grouped.1.weight"] == [2, 1, 3, 3]  # groups 1 and 3
    assert (found["grouped.0.bias"], found["grouped.1.bias"]) == ([8], [2])
    assert (found["first.weight"], found["last.weight"]) == ([10, 3, 1, 1], [2, 10, 1, 1])
    groups = [n.args[6:] for n in compact.module.graph.nodes if n.target == CONV]
    assert groups == [(), (2,), (2,), ()]
    assert ops(compact).count("slice") == 2
    assert "index_select" not in ops(compact)
    row = next(row for row in compact.report.layers if row["name"] == "grouped")
    assert (row["in_after"], row["out_after"]) == (10, 10)
    assert row["macs_after"] == 2 * 64 * 9 * (2 * 4 * 4 + 2)  # of two images
    assert compact.plan["split"] == {"conv2d_1": [[0, 2], [1, 3]]}
    torch.testing.assert_close(compact.module(IMAGE)["a"], net(IMAGE)["a"], rtol=1e-4, atol=1e-5)


def test_compiling_it_again_changes_nothing(compile_static) -> None:
    once = compile_static(Block(), objective="macs")
    twice = compile_static(once.module, objective="macs")
    assert twice.report.after == once.report.after
    assert shapes(twice) == shapes(once)
    assert ops(twice) == ops(once)
    assert twice.plan["split"] == {}


def test_who_wants_the_natural_order_gets_it_through_one_gather(compile_static) -> None:
    net = Block(shows=True)
    with torch.no_grad():
        net.last.weight.fill_(0.1)  # all rows are read: the groups differ in columns only
    compact = compile_static(net, objective="macs")
    assert ops(compact).count("index_select") == 1
    for name, value in net(IMAGE).items():
        torch.testing.assert_close(compact.module(IMAGE)[name], value, rtol=1e-4, atol=1e-5)


def test_without_gathers_no_convolution_is_split(compile_static) -> None:
    assert compile_static(Block(), objective="macs", gather=False).plan["split"] == {}


def test_cost_decides(compile_static) -> None:
    """What 45 multiplications for a number that moves leave of it: nothing but the whole."""
    small, large = compile_static(Block()), compile_static(Block(), objective="params")
    assert small.plan["split"] == {}
    assert set(large.plan["split"]) == {"conv2d_1"}


def test_weights_go_back_to_the_layer_and_the_plan_is_carried_out_again(compile_static) -> None:
    for bias in (True, False):
        net = Block(bias=bias)
        with torch.no_grad():  # a constant that the grouped layer needs a bias for
            net.norm.weight[0] = 0
            net.norm.bias[0] = 0.5
        net.grouped.padding = (0, 0)
        compact = compress(net.eval(), IMAGE, objective="macs", dynamic=False)
        plan = json.loads(json.dumps(compact.plan))
        assert plan["parameters"]["grouped.1.weight"]["part_of"] == "grouped.weight"
        assert plan["parameters"]["grouped.1.bias"]["new"] is not bias
        back = compact.original_state_dict()["grouped.weight"]
        kept = back != 0
        assert torch.equal(back[kept], net.grouped.weight[kept])
        assert int(kept.sum()) == 9 * (4 * 3 + 4 * 4 + 2)  # channel 0 is a constant
        with torch.no_grad():
            for parameter in compact.module.parameters():
                parameter += 0.1
        again = replay(Block(bias=bias), plan, example_inputs=IMAGE,
                       weights=compact.module.state_dict())  # fmt: skip
        assert again.plan == plan
        assert not torch.equal(again.module(IMAGE)["a"], net(IMAGE)["a"])


def test_a_plan_that_splits_other_groups_is_refused(compile_static) -> None:
    net = Block()
    plan = compile_static(net, objective="macs").plan
    for classes in ([[0, 2], [1]], [[0, 2], [1, 3, 3]], [[0, 1, 2, 3, 4]], [[0, -1]]):
        damaged = {**plan, "split": {"conv2d_1": classes}}
        with pytest.raises(CompilerError, match="it does not split the 4 groups of `conv2d_1`"):
            replay(net, damaged, example_inputs=IMAGE)


def test_verification_sees_a_part_that_reads_the_wrong_channels(
    compile_static, monkeypatch
) -> None:
    right = Lowering.select
    monkeypatch.setattr(
        Lowering, "select", lambda self, node, wanted: right(self, node, wanted[::-1])
    )
    with pytest.raises(VerificationError):
        compile_static(Block(), objective="macs")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_classes_of_any_kind_store_and_compute_no_more_than_keeping(data: st.DataObject) -> None:
    """Rows and columns of a split layer are among those it has where all groups are filled up."""
    node, facts = PATTERNS[data.draw(st.integers(0, len(PATTERNS) - 1))]
    labels = data.draw(st.lists(st.integers(0, 3), min_size=4, max_size=4))
    parts = [[g for g in range(4) if labels[g] == label] for label in set(labels)]
    needed = torch.tensor(data.draw(st.lists(st.booleans(), min_size=16, max_size=16)))
    sizes = {}
    for rule in (Grouped(), Split(parts)):
        rows = rule.pad_rows(node, needed, facts)
        columns = rule.needs(node, rows, facts)[channelwise(node)]
        assert (needed <= rows).all()
        assert (rule.reads(node, facts)[channelwise(node)] & rows.view(4, 4).any(1)
                .repeat_interleave(4) <= columns).all()  # fmt: skip
        sizes[type(rule)] = [x.view(4, 4).sum(1) for x in (rows, columns)]
    kept, split = sizes[Grouped], sizes[Split]
    assert all((few <= many).all() for few, many in zip(split, kept, strict=True))
    for members in parts:  # each class is a grouped convolution, so all of its groups are alike
        for counts in split:
            assert counts[members][counts[members] > 0].unique().numel() <= 1


def test_least_multiplications_and_least_parameters_need_no_filler() -> None:
    for node, facts in PATTERNS:
        for cost in (MacsCost(), ParamsCost()):
            rule = regroup(facts, cost).rules[node]
            live = facts.live[node]
            rows = rule.pad_rows(node, live, facts)
            assert torch.equal(rows, live)
            read = rule.reads(node, facts)[channelwise(node)]
            spare = rule.needs(node, rows, facts)[channelwise(node)] & ~read
            empty = live.view(4, 4).any(1) & ~read.view(4, 4).any(1)
            assert torch.equal(spare.view(4, 4).sum(1), empty.int())


def patterns() -> list[tuple[torch.fx.Node, object]]:
    """Return the grouped layer of blocks with random zeros, and the facts of its graph."""
    found = []
    for seed in range(6):
        net = Block(bias=seed % 2 == 0)
        torch.manual_seed(seed)
        with torch.no_grad():
            net.grouped.weight.normal_()
            net.grouped.weight.view(4, 4, 4, 9).transpose(1, 2)[torch.rand(4, 4) < 0.5] = 0
            net.last.weight[:, torch.rand(16) < 0.5] = 0
        captured = capture(net.eval(), IMAGE, dynamic=False)
        normalise(captured.module)
        facts = analyse(captured.module)
        found.append((next(n for n, r in facts.rules.items() if type(r) is Grouped), facts))
    return found


PATTERNS = patterns()
