"""A compact model can be rebuilt from its source, its plan and its weights; or says why not."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import FAMILIES, compiled, image
from torch import nn
from torch.utils._pytree import tree_leaves

from compactmtl.compiler import compress, replay
from compactmtl.compiler.folder import write_folder
from compactmtl.compiler.replay import recorded
from compactmtl.errors import (
    CompilerError,
    CorruptFileError,
    UsageError,
    VerificationError,
    WeightsError,
)

QUICK = ("convnext", "densenet", "segnet")
IMAGE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(4))


def net(width: int = 8, seed: int = 0, *, stride: int = 1, relu: bool = True) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, width, 3, stride), nn.BatchNorm2d(width)]
    return nn.Sequential(
        *layers, nn.ReLU() if relu else nn.GELU(), nn.Conv2d(width, 2, 1, bias=False)
    ).eval()


@pytest.fixture
def original() -> nn.Module:
    network = net()
    with torch.no_grad():
        network[3].weight[:, [1, 5]] = 0
        network[0].weight[2], network[1].bias[2] = 0, 0.7  # a constant, folded into a new bias
    return network


@pytest.fixture
def folder(original, tmp_path) -> Path:
    compact = compress(original, IMAGE, objective="macs", input_names=["rgb"])
    with torch.no_grad():
        for parameter in compact.module.parameters():
            parameter += 0.1  # trained further
    write_folder(compact, tmp_path / "compact", images=[], origin="noise")
    return tmp_path / "compact"


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES if n not in QUICK)]
)
def test_a_network_of_any_weights_gets_structure_and_weights_back(name: str) -> None:
    compact = compiled(name)
    plan = json.loads(json.dumps(recorded(compact)))
    torch.manual_seed(7)
    fresh = FAMILIES[name]()
    before = copy.deepcopy(fresh.state_dict())
    again = replay(fresh, plan, weights=compact.module.state_dict())
    assert again.report.after == compact.report.after
    assert again.plan == plan
    assert again.manifest == compact.manifest
    state = compact.module.state_dict()
    assert again.module.state_dict().keys() == state.keys()
    for got, expected in zip(
        tree_leaves(again.module(image())), tree_leaves(compact.module(image())), strict=True
    ):
        assert torch.equal(got, expected)
    assert all(torch.equal(value, before[key]) for key, value in fresh.state_dict().items())


def test_a_folder_is_rebuilt_with_the_weights_it_has(folder, original) -> None:
    again = replay(net(seed=3), folder / "plan.json")
    assert "3.bias" in again.module.state_dict()
    assert again.manifest.input_names == ["rgb"]
    assert again.manifest.inputs[0].dynamic == {0: "batch", 2: "height", 3: "width"}
    other = torch.rand(3, 3, 11, 9)
    assert not torch.allclose(again.module(other), original(other))
    assert torch.equal(replay(net(seed=4), folder).module(other), again.module(other))


def test_a_plan_alone_is_carried_out_on_the_original_weights(original) -> None:
    compact = compress(original, IMAGE, objective="macs")
    again = replay(original, compact.plan, example_inputs=IMAGE)
    assert torch.equal(again.module(IMAGE), compact.module(IMAGE))
    assert again.report.after == compact.report.after
    with pytest.raises(UsageError, match="does not say what the network takes"):
        replay(original, compact.plan)
    with pytest.raises(
        CompilerError, match=r"channel 1 of `conv2d` is needed, and the plan removes"
    ):
        replay(net(), compact.plan, example_inputs=IMAGE)


def test_no_decision_is_taken_anew(original) -> None:
    without = compress(original, IMAGE, objective="macs", gather=False)
    gathering = compress(original, IMAGE, objective="macs")
    for compact in (without, gathering):
        again = replay(original, compact.plan, example_inputs=IMAGE)
        assert again.report.layers == compact.report.layers
    untouched = compress(original, IMAGE, prune_zero_channels=False)
    again = replay(net(seed=2), recorded(untouched), weights=untouched.module.state_dict())
    assert torch.equal(again.module(IMAGE), original(IMAGE))


def test_names_that_another_torch_gives_do_not_matter(folder) -> None:
    text = (folder / "plan.json").read_text()
    for name in ("conv2d", "relu", "batch_norm"):
        text = text.replace(f'"{name}"', f'"{name}_of_old"')
    document = json.loads(text)
    for node in document["graph"]:
        node["op"] = node["op"].removesuffix("_of_old")
    (folder / "plan.json").write_text(json.dumps(document))
    assert replay(net(seed=3), folder).report.after.num_params


@pytest.mark.parametrize(
    ("other", "kind", "words"),
    [
        (net(relu=False), CompilerError, r"`gelu` \(gelu\) of 8 channels reading batch_norm, exp"),
        (net(width=12), WeightsError, r"has \[12, 3, 3, 3\] as `0.weight`, expected \[8, 3, 3, 3"),
        (nn.Sequential(*net(), nn.ReLU()), CompilerError, "does not fit the plan"),
        (nn.Sequential(nn.Identity(), *net()), WeightsError, "has nothing as `0.weight`"),
        (
            net(stride=2),
            VerificationError,
            r"output `output` is \[1, 2, 3, 3\], expected \[1, 2, 6",
        ),
    ],
)
def test_another_network_is_an_error(folder, other, kind, words) -> None:
    with pytest.raises(kind, match=words):
        replay(other, folder)


def test_the_same_structure_with_another_meaning_is_noticed(folder) -> None:
    class Negative(nn.ReLU):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.relu(x)

    same = net()
    same[2] = Negative()
    replay(same, folder)
    same[1].eps = 0.1  # in no weight, and in no name
    with pytest.raises(VerificationError, match="differs from what the plan says by"):
        replay(same, folder)


def _cut(document: dict) -> None:
    del document["stored"]


def _other_version(document: dict) -> None:
    document["format_version"] = 99


def _far_channel(document: dict) -> None:
    document["stored"]["relu"] = [0, 4000]


def _stranger(document: dict) -> None:
    document["rows"]["conv2d_77"] = [0]


@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [
        (_cut, CorruptFileError, "`stored`: Field required"),
        (_other_version, CorruptFileError, "`format_version`: Input should be 1"),
        (_far_channel, CompilerError, "no such channels of `relu`"),
        (_stranger, CompilerError, "no such channels of `conv2d_77`"),
    ],
)
def test_a_damaged_plan_is_an_error(
    folder, damage: Callable[[dict], None], kind, words: str
) -> None:
    document = json.loads((folder / "plan.json").read_text())
    damage(document)
    (folder / "plan.json").write_text(json.dumps(document))
    with pytest.raises(kind, match=words):
        replay(net(), folder)


def test_weights_of_another_compact_model_are_an_error(folder, original) -> None:
    weights = dict(compress(original, IMAGE, prune_zero_channels=False).module.state_dict())
    with pytest.raises(WeightsError, match="by the plan"):
        replay(net(), folder, weights=weights)
