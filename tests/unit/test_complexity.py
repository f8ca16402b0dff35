import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from compactmtl.complexity import count


class Mixed(nn.Module):
    """Every weighted operation that our networks have, and some that cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.plain(x)))
        x = self.up(x + self.grouped(x))
        return {"class": self.head(x.mean((2, 3))), "map": x @ x.mT}


@pytest.fixture
def network():
    return Mixed().eval()


def test_against_torchs_counter_and_by_hand(network):
    x = torch.rand(2, 3, 16, 24)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    found = count(network, x)
    assert found.macs * 2 == counter.get_total_flops()
    by_hand = {
        "plain": 2 * 8 * 8 * 12 * 3 * 9,
        "grouped": 2 * 8 * 8 * 12 * 2 * 9,
        "up": 2 * 8 * 8 * 12 * 6 * 4,
        "head": 2 * 6 * 5,
        "bmm": 2 * 6 * 16 * 24 * 16,
    }
    assert {layer.name: layer.macs for layer in found.layers} == by_hand
    assert [layer.name for layer in found.layers] == ["plain", "grouped", "up", "bmm", "head"] or [
        layer.name for layer in found.layers
    ] == ["plain", "grouped", "up", "head", "bmm"]


def test_parameters_and_bytes(network):
    found = count(network, torch.rand(1, 3, 8, 8))
    assert found.num_params == sum(p.numel() for p in network.parameters())
    assert found.weights_bytes == 4 * (found.num_params + 16)  # running mean and variance
    by_name = {layer.name: layer.num_params for layer in found.layers}
    assert by_name["plain"] == 8 * 3 * 9 + 8
    assert by_name["head"] == 6 * 5 + 5


def test_the_captured_graph_costs_what_the_module_costs(network):
    x = torch.rand(2, 3, 16, 16)
    graph = torch.export.export(network, (x,)).module()
    assert count(graph, x) == count(network, x)


def test_tied_weights_are_parameters_once_but_work_twice():
    layer = nn.Linear(4, 4, bias=False)
    found = count(nn.Sequential(layer, layer), torch.rand(3, 4))
    assert (found.num_params, found.macs) == (16, 2 * 3 * 16)


class Double(nn.Module):
    def forward(self, weight):
        return weight * 2


def test_a_computed_weight_is_counted_under_its_layer():
    layer = nn.Conv2d(2, 3, 1)
    parametrize.register_parametrization(layer, "weight", Double())
    found = count(nn.Sequential(layer), torch.rand(1, 2, 4, 4))
    assert found.macs == 2 * 3 * 16
    assert [layer.name for layer in found.layers] == ["0"]


def test_the_module_is_left_as_it_was(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    count(network, torch.rand(2, 3, 8, 8))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert tensor.grad is None
