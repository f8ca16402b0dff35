"""Every parameter of a compact model says which channels of the original it holds."""

import copy
import json

import pytest
import torch
from families import LARGE, SMALL, compiled, image
from no_blocks import NoGroups
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compactmtl.compiler import compress, replay
from compactmtl.errors import WeightsError
from compactmtl.parameter_map import index


def doubled(graph: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Return the dense twin in float64 with these weights; a layer that is gone keeps its own."""
    graph = graph.double()
    graph.load_state_dict(state, strict=False)
    return graph


@pytest.mark.parametrize(
    "name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
def test_weights_trained_further_go_back_to_the_original(name: str) -> None:
    compact = copy.deepcopy(compiled(name))
    entries = compact.plan["parameters"]
    assert compact.plan == json.loads(json.dumps(compact.plan))
    assert entries.keys() == compact.module.state_dict().keys()
    assert all(entry["axes"] is not None for entry in entries.values())
    assert not any(entry["new"] and entry["shape"] is not None for entry in entries.values())
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in compact.module.parameters():
            parameter += 0.1 * (0.1 + parameter.abs()) * torch.randn_like(parameter)
    image64 = image().double()
    expected = tree_leaves(compact.module.double()(image64))
    dense = doubled(compact.dense, compact.original_state_dict())
    for got, wanted in zip(tree_leaves(dense(image64)), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-11 * wanted.abs().max().item())
    columns = [entry["axes"][1] for entry in entries.values() if len(entry["axes"]) > 1]
    for ids in columns:
        if ids is not None:
            ids.append(ids.pop(0))  # an error that the comparison must see
    wrong = tree_leaves(doubled(dense, compact.original_state_dict())(image64))
    assert not any(torch.allclose(a, b) for a, b in zip(wrong, expected, strict=True))


class WithoutConstants(nn.Module):
    """No bias and no batch norm: a channel that nobody reads is dead, and nothing is folded."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.grouped = nn.Conv2d(12, 16, 3, padding=1, groups=4, bias=False)
        self.up = nn.ConvTranspose2d(16, 10, 2, 2, bias=False)
        self.scale = nn.Parameter(torch.rand(10, 1, 1) + 0.5)
        self.slope = nn.PReLU(10)
        self.head = nn.Conv2d(10, 4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.grouped(self.stem(x).relu()).relu())
        return self.head(self.slope(x * self.scale))


@pytest.mark.parametrize("seed", range(4))
def test_without_constants_weights_and_gradients_are_those_of_the_original(seed: int) -> None:
    torch.manual_seed(seed)
    network = WithoutConstants().double().eval()
    with torch.no_grad():
        for layer in (network.grouped, network.head):
            layer.weight[:, torch.rand(layer.weight.shape[1]) < 0.5] = 0
        network.up.weight[torch.rand(16) < 0.5] = 0
    example = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    compact = compress(network, example, dynamic=False, objective="macs")
    network(example).square().sum().backward()
    compact.module(example).square().sum().backward()
    originals = dict(network.named_parameters())
    for name, parameter in compact.module.named_parameters():
        entry = compact.plan["parameters"][name]
        if entry["new"]:
            continue
        place = index(entry["axes"], entry["shape"], parameter.shape[0])
        used = parameter.detach() != 0  # a filler of a grouped convolution holds nothing
        original = originals[entry.get("part_of", name)]
        assert torch.equal(original.detach()[place][used], parameter.detach()[used])
        torch.testing.assert_close(
            original.grad[place][used], parameter.grad[used], rtol=1e-9, atol=1e-12
        )


def test_a_bias_that_the_original_lacks_is_marked_new(compile_static) -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1, bias=False))
    with torch.no_grad():
        net[0].weight[2] = 0
        net[0].bias[2] = 1.5  # a constant that goes into a bias
    compact = compile_static(net)
    assert compact.plan["parameters"]["2.bias"] == {"shape": [4], "axes": [None], "new": True}
    assert compact.plan["parameters"]["0.weight"]["axes"][0] == [0, 1, 3, 4, 5]
    assert "2.bias" not in compact.original_state_dict()


def test_columns_of_groups_are_listed_by_group(compile_static) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1, groups=2))
    with torch.no_grad():
        net[2].weight[:2, [0, 2]] = 0
        net[2].weight[2:, [1, 3]] = 0
    entry = compile_static(net).plan["parameters"]["2.weight"]
    assert entry == {"shape": [4, 4, 1, 1], "axes": [None, [[1, 3], [0, 2]], None, None],
                     "new": False}  # fmt: skip


def test_weights_that_do_not_fit_the_map_are_refused(compile_static) -> None:
    compact = compile_static(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    compact.plan["parameters"]["0.weight"]["axes"][0] = [0, 1]
    with pytest.raises(WeightsError, match=r"`0\.weight` is \[4, 3, 1, 1\], expected \[2, 3"):
        compact.original_state_dict()


class Uneven(nn.Module):
    """A grouped convolution of which one group is nearly gone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.grouped(self.stem(x).relu()).relu())


def test_a_grouped_convolution_that_became_dense_goes_back_group_by_group(compile_static) -> None:
    torch.manual_seed(0)
    network = Uneven()
    with torch.no_grad():
        network.grouped.weight[4:, 1:] = 0
        network.head.weight[:, 5:] = 0
    compact = compile_static(network, objective=NoGroups())
    entry = compact.plan["parameters"]["grouped.weight"]
    assert compact.plan["ungrouped"] == ["conv2d_1"]
    assert (entry["groups"], entry["axes"][:2]) == (2, [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]])
    back = compact.original_state_dict()["grouped.weight"]
    assert torch.equal(back[:5], network.grouped.weight[:5])
    assert not back[5:].any()
    fresh = Uneven()
    again = replay(fresh, compact.plan, example_inputs=torch.rand(2, 3, 8, 8),
                   weights=compact.module.state_dict())  # fmt: skip
    assert again.module.get_parameter("grouped.weight").shape == (5, 5, 3, 3)
    with torch.no_grad():
        compact.module.get_parameter("grouped.weight")[4, 0] += 1  # trained to read another group
    with pytest.raises(WeightsError, match=r"`grouped\.weight` .* read across its 2 groups"):
        compact.original_state_dict()
    again = replay(fresh, compact.plan, example_inputs=torch.rand(2, 3, 8, 8),
                   weights=compact.module.state_dict())  # fmt: skip
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(again.module(x), compact.module(x))
