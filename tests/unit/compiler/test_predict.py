"""What the controller is told that a network would cost, against what compress makes of it."""

import pytest
import torch
from torch import nn
from two_tasks import TwoTasks

import compactmtl as cm
from compactmtl.compiler.cost import MacsCost
from compactmtl.compiler.predict import macs_left, predicted_ms
from compactmtl.compiler.table import default_table
from compactmtl.overparam import expand
from compactmtl.sparsity import groups


class Net(nn.Module):
    """A residual network with a grouped convolution and two heads."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.block = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, groups=4),
            nn.ReLU(),
            nn.Conv2d(16, 16, 1),
        )
        self.heads = nn.ModuleDict({"a": nn.Conv2d(16, 4, 1), "b": nn.Conv2d(16, 2, 3)})

    def forward(self, image):
        x = self.stem(image).relu()
        x = (x + self.block(x)).relu()
        return {name: head(x) for name, head in self.heads.items()}


def sparse(share: float) -> nn.Module:
    net = Net()
    generator = torch.Generator().manual_seed(1)
    for group in groups(net, layers="*", reads=()):
        if group.num_groups > 3:
            group.clear(torch.rand(group.num_groups, generator=generator) < share)
    return net.eval()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_the_share_of_multiplications_is_that_of_the_compiled_network(share):
    net, image = sparse(share), torch.rand(2, 3, 12, 12)
    report = cm.compress(net, image, objective="macs").report
    expected = report.after.macs / report.before.macs
    assert macs_left(net, image[:1]) == pytest.approx(expected, rel=1e-9)


def test_predicted_time_is_the_sum_over_layers_and_falls_with_sparsity():
    image = torch.rand(1, 3, 12, 12)
    report = cm.compress(sparse(0.0), image, objective="macs", dynamic=False).report
    assert predicted_ms(sparse(0.0), image, MacsCost()) * 1e6 == report.before.macs
    dense, small = (predicted_ms(sparse(share), image, default_table()) for share in (0.0, 0.8))
    assert small < 0.6 * dense


def test_an_expanded_network_costs_what_it_contracts_to_and_stays_expanded():
    net = TwoTasks()
    image = torch.rand(1, 3, 8, 8)
    expand(net, tasks=("seg", "depth"), layers="encoder")
    assert macs_left(net, image) == 1.0
    (group,) = groups(net, layers="encoder", reads=())
    group.clear(torch.tensor([True, False, False]))
    left = (2 * 9 * 8 + 8 * 6) / (3 * 9 * 8 + 8 * 6)
    assert macs_left(net, image) == pytest.approx(left, rel=1e-9)
    assert net.encoder.weight.requires_grad
