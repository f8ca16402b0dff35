"""Why channels are kept: against the analysis on random graphs, and on nets with a known answer."""

import copy

import pytest
import torch
import torch.nn.functional as F
from random_nets import SIZE, RandomNet, randomise
from torch import nn

from compactmtl.channel_runs import from_runs
from compactmtl.compiler.analysis import analyse
from compactmtl.compiler.capture import capture
from compactmtl.compiler.cost import cost_model
from compactmtl.compiler.lower import Lowering
from compactmtl.compiler.normalise import normalise
from compactmtl.compiler.plan import make_plan, untouched_plan
from compactmtl.compiler.readers import layer_names
from compactmtl.compiler.regroup import regroup
from compactmtl.compiler.why import why


def explained(model, image, objective="latency"):
    """Return the facts, the layouts and the document."""
    captured = capture(model.eval(), image, dynamic=False)
    normalise(captured.module)
    cost = cost_model(objective)
    facts = regroup(analyse(captured.module), cost)
    plan = make_plan(facts, cost)
    lowering = Lowering(facts, plan, cost)
    lowering.run()
    layouts = lowering.layouts_by_name()
    document = why(facts, plan, layouts, captured.output_names, cost="test", pruned=True)
    return facts, layouts, document


def check(facts, layouts, document):
    """Every kept channel is accounted for once, and the readers read exactly what is live."""
    for node, name in layer_names(facts).items():
        layer, live = document["layers"][name], facts.live[node]
        kept = set(layouts[node.name])
        assert from_runs(layer["kept"]["channels"]) == sorted(kept)
        read = {c for entry in layer["readers"] for c in from_runs(entry["channels"])}
        unread = [c for entry in layer["unread"] for c in from_runs(entry["channels"])]
        assert read == kept & set(live.nonzero().flatten().tolist())
        assert sorted([*read, *unread]) == sorted(kept)
        columns = from_runs(layer["input"]["columns"]["channels"])
        used = from_runs(layer["input"]["read"]["channels"])
        assert set(used) <= set(columns)
        assert bool(layer["input"]["why"]) == (len(used) < len(columns) or node not in facts.rules)


def of_random_net(seed):
    image = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    objective = ("latency", "macs")[seed % 2]
    return explained(randomise(RandomNet(seed), seed), image, objective)


@pytest.mark.parametrize("seed", range(12))
def test_readers_on_random_nets_read_what_is_live(seed):
    check(*of_random_net(seed))


def test_the_oracle_misses_a_reader_that_is_left_out():
    facts, layouts, document = of_random_net(0)
    for name, layer in document["layers"].items():
        for index in range(len(layer["readers"])):
            wrong = copy.deepcopy(document)
            entry = wrong["layers"][name]["readers"].pop(index)
            others = wrong["layers"][name]["readers"]
            rest = {c for other in others for c in from_runs(other["channels"])}
            if not set(from_runs(entry["channels"])) <= rest:
                with pytest.raises(AssertionError):
                    check(facts, layouts, wrong)
                return
    pytest.fail("no reader stands alone")


class Net(nn.Module):
    """A stream of two writers, two readers, an output of its own, and an op without a rule."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.back = nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(8, 2, 1)
        self.other = nn.Conv2d(3, 4, 1)
        self.out = nn.Conv2d(3, 5, 1)

    def forward(self, image):
        x = F.relu(self.norm(self.stem(image)))
        x = x + self.back(F.relu(self.inner(x)))
        return {
            "head": self.head(x),
            "sorted": torch.sort(self.other(image), 1).values,
            "plain": self.out(image),
        }


@pytest.fixture(scope="module")
def layers():
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.uniform_(0.5, 1)
                module.running_mean.uniform_(-1, 1)
        net.inner.weight[:, [0, 1, 5, 6, 7]] = 0
        net.back.weight[:, [0, 2]] = 0
        net.head.weight[:, [0, 1, 2, 3, 4]] = 0
    return explained(net, torch.rand(2, 3, 8, 8), "macs")[2]["layers"]


def test_each_reader_is_named_with_its_channels_and_the_ops_between(layers):
    readers = {entry["name"]: entry for entry in layers["stem"]["readers"]}
    assert readers["inner"]["channels"] == "2-4"
    assert readers["inner"]["via"] == ["batch_norm", "relu"]
    assert readers["head"]["channels"] == "5-7"
    assert readers["head"]["via"] == ["batch_norm", "relu", "add"]
    assert list(readers) == ["inner", "head"]  # in the order of the graph
    assert layers["inner"]["kept"]["channels"] == "1, 3-7"


def test_outputs_and_opaque_ops_keep_everything_and_say_where(layers):
    (output,) = layers["out"]["readers"]
    assert (output["kind"], output["name"], output["count"]) == ("output", "plain", 5)
    (opaque,) = layers["other"]["readers"]
    assert (opaque["kind"], opaque["op"], opaque["count"]) == ("opaque", "sort", 4)
    assert opaque["why"] == "no rule for this op"
    assert "test_why.py:" in opaque["source"]


def test_the_input_side_tells_a_gather_from_columns_of_zeros(layers):
    gathered = layers["inner"]["input"]
    assert (gathered["how"], gathered["columns"]["channels"]) == ("gather", "2-4")
    assert gathered["stored"] == 6
    assert gathered["why"] == ""
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 2, 1))
    with torch.no_grad():
        net[2].weight[:, 3:] = 0
    captured = capture(net.eval(), torch.rand(1, 3, 4, 4), dynamic=False)
    normalise(captured.module)
    facts = analyse(captured.module)
    plan = untouched_plan(facts)
    document = why(facts, plan, plan.stored, ["y"], cost="test", pruned=False)
    dense = document["layers"]["2"]["input"]
    assert (dense["how"], dense["zero_columns"]["channels"]) == ("dense", "3-5")
    assert dense["why"] == "removal was not asked for"
    (reason,) = document["layers"]["0"]["unread"]
    assert (reason["kind"], reason["channels"]) == ("removable", "3-5")


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, image):
        return self.last(F.relu(self.grouped(F.relu(self.first(image)))))


def test_channels_that_fill_up_a_group_say_so():
    torch.manual_seed(0)
    net = Grouped()
    with torch.no_grad():
        net.last.weight[:, [1, 2, 3]] = 0
        net.grouped.weight[:4, [1, 2]] = 0
    captured = capture(net.eval(), torch.rand(1, 3, 8, 8), dynamic=False)
    normalise(captured.module)
    cost = cost_model("macs")
    facts = analyse(captured.module)  # not regrouped: the grouped layer stays one
    plan = make_plan(facts, cost)
    lowering = Lowering(facts, plan, cost)
    lowering.run()
    layouts = lowering.layouts_by_name()
    document = why(facts, plan, layouts, ["y"], cost="test", pruned=True)
    check(facts, layouts, document)
    for name in ("first", "grouped"):
        assert [entry["kind"] for entry in document["layers"][name]["unread"]] == ["group"]


def test_a_stream_lists_who_writes_and_who_reads_it():
    class Stream(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList([nn.Conv2d(3, 6, 1), *(nn.Conv2d(6, 6, 1) for _ in "ab")])

        def forward(self, image):
            x = self.convs[0](image)
            for conv in self.convs[1:]:
                x = x + conv(x.relu())
            return {"y": x}

    torch.manual_seed(0)
    net = Stream()
    with torch.no_grad():
        net.convs[1].weight[:, :2] = 0
    (stream,) = explained(net, torch.rand(1, 3, 4, 4))[2]["streams"]
    assert [(row["layer"], row["does"]) for row in stream["rows"]] == [
        ("convs.0", "write"),
        ("convs.1", "read"),
        ("convs.1", "write"),
        ("convs.2", "read"),
        ("convs.2", "write"),
        ("y", "read"),
    ]
    assert stream["rows"][1]["channels"] == "2-5"
    assert stream["stored"] == "0-5"
