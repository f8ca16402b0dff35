"""`whatif`: masks, the budget's answer, the layers that pay, and the verb from end to end."""

import json
import tempfile

import pytest
import torch
from torch import nn

from compactmtl.cli.app import run
from compactmtl.compiler.cost import ConvShape, MacsCost
from compactmtl.errors import PatternError, UsageError
from compactmtl.study import whatif as module
from compactmtl.study.budget import needs
from compactmtl.study.layers import layer_shapes, shares
from compactmtl.study.masks import scenarios, zero_share
from compactmtl.study.whatif import Point

NETWORK = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, image):
        return self.head(self.second(self.first(image).relu()).relu().cumsum(1))


def build():
    return Net()
"""


class Net(nn.Module):
    encoder_layers = ("encoder.*",)
    head_reads = ("head.0",)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 10, 3), nn.ReLU(), nn.Conv2d(10, 20, 3))
        self.head = nn.Sequential(nn.Conv2d(20, 8, 1), nn.Conv2d(8, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(image))


def names(found):
    return {scenario: [group.name for group in groups] for scenario, groups in found.items()}


def test_the_encoder_is_what_the_network_declares():
    assert names(scenarios(Net(), None)) == {
        "encoder": ["encoder.2"],  # the first layer reads the image
        "encoder and heads": ["encoder.2", "head.0"],
    }


def test_the_encoder_is_what_the_user_says():
    net = Net()
    assert names(scenarios(net, ["head.*"]))["encoder"] == ["head.0", "head.1"]


def test_where_nothing_is_declared_all_layers_are_one_scenario():
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1, groups=8), nn.Conv2d(8, 4, 1))
    assert names(scenarios(net, None)) == {"all layers": ["2"]}
    assert list(scenarios(net, ["2"])) == ["encoder", "encoder and heads"]


def test_nothing_to_make_sparse():
    with pytest.raises(UsageError, match="nothing to make sparse"):
        scenarios(nn.Sequential(nn.Conv2d(3, 8, 1)), None)
    with pytest.raises(PatternError):
        scenarios(Net(), ["backbone.*"])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.85, 1.0])
def test_shares_are_met_in_every_layer_and_nested(share):
    net, more = Net(), Net()
    for network, asked in ((net, share), (more, min(1.0, share + 0.1))):
        zero_share(scenarios(network, None)["encoder and heads"], asked, seed=3)
    for few, many in zip(
        *(scenarios(n, None)["encoder and heads"] for n in (net, more)), strict=True
    ):
        zero = (few.rows(few.parameter) == 0).all(1)
        assert zero.sum() == min(round(share * few.num_groups), few.num_groups - 1)
        assert not (zero & ~(many.rows(many.parameter) == 0).all(1)).any()


def points(*latencies: float, width: float = 0.02) -> list[Point]:
    sparsities = (0.0, 0.3, 0.5, 0.7, 0.85)
    found = []
    for sparsity, latency in zip(sparsities, latencies, strict=True):
        ratio = latencies[0] / latency
        interval = (ratio * (1 - width), ratio * (1 + width)) if sparsity else (1.0, 1.0)
        name = "encoder" if sparsity else "dense"
        found.append(Point(name, sparsity, 1, 1, latency, ratio, interval))
    return found


def test_the_budget_is_interpolated_between_measured_points():
    (need,) = needs(points(10, 8, 6, 4, 3), 7)
    assert need.sparsity == pytest.approx(0.4)
    assert need.interval[0] < 0.4 < need.interval[1]
    assert "between 30% and 50%" in need.said
    (exact,) = needs(points(10, 8, 6, 4, 3), 4)
    assert exact.sparsity == pytest.approx(0.7)
    (wide,) = needs(points(10, 8, 6, 4, 3, width=0.2), 7)
    assert wide.interval[0] < need.interval[0] < need.interval[1] < wide.interval[1]


def test_a_budget_that_is_met_already_or_never():
    (met,) = needs(points(10, 8, 6, 4, 3), 11)
    assert (met.sparsity, met.interval) == (0.0, (0.0, 0.0))
    (never,) = needs(points(10, 8, 6, 4, 3), 1)
    assert (never.sparsity, never.interval[1]) == (None, 1.0)
    assert "not reached" in never.said


def test_shares_of_layers_by_hand():
    net = Net()
    shapes = layer_shapes(net, [torch.rand(1, 3, 8, 8)])
    assert shapes["encoder.0"] == ConvShape(10, 3, 9, 1, 36, 64)
    assert shapes["head.1"] == ConvShape(1, 8, 1, 1, 16, 16)
    after = [{"name": "encoder.2", "out_after": 5, "in_after": 10}]
    found = shares(shapes, after, MacsCost())
    macs = {"encoder.0": 9720, "encoder.2": 28800, "head.0": 2560, "head.1": 128}
    assert found[0].name == "encoder.2"
    assert found[0].saved_share == pytest.approx(21600 / sum(macs.values()))
    assert {layer.name: layer.macs for layer in found} == macs
    assert sum(layer.time_share for layer in found) == pytest.approx(1)


def test_the_verb_from_end_to_end(tmp_path, monkeypatch, capsys):
    (tmp_path / "whatif_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "SPARSITIES", (0.5, 0.7))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    arguments = ["whatif", "--model", "whatif_network:build", "--input", "image=1x3x16x16"]
    assert run([*arguments, "--seconds", "0", "--budget-ms", "1000", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(p["scenario"], p["sparsity"]) for p in found["points"]] == [
        ("dense", 0),
        ("all layers", 0.5),
        ("all layers", 0.7),
    ]
    macs = [p["macs"] for p in found["points"]]
    assert macs[0] > macs[1] > macs[2] > 0
    assert [op["op"] for op in found["opaque"]] == ["cumsum"]
    assert "whatif_network.py:14" in found["opaque"][0]["source"]
    assert found["budget"][0]["sparsity"] == 0
    assert [p.name for p in tmp_path.glob("compactmtl-whatif-*")] == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--model", "resnet", "--input", "image=1x3x8x8"], 2),
        (["--model", "os:getcwd", "--input", "image=1x3x8x8"], 2),
        (["--model", "torch.nn:Identity", "--input", "image"], 2),
        (["--model", "torch.nn:Identity", "--input", "input=1x3x8x8"], 2),
        (["--model", "torch.nn:Identity"], 2),
    ],
)
def test_wrong_calls_are_one_line(arguments, code, capsys):
    assert run(["whatif", *arguments]) == code
    assert "Traceback" not in capsys.readouterr().err
