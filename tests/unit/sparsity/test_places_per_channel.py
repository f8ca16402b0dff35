"""A linear layer on flattened images, whose groups are channels and not single columns."""

import math

import pytest
import torch
from torch import nn

from compactmtl.overparam import expand
from compactmtl.sparsity import ProximalAdamW, groups


class Flattened(nn.Module):
    encoder_layers = ("read",)
    head_reads = ()

    def __init__(self, places=4):
        super().__init__()
        torch.manual_seed(0)
        self.read = nn.Linear(3 * 4, 5)
        if places > 1:
            self.read.places_per_channel = places

    def forward(self, x):
        return self.read(x.flatten(1))


def test_a_channel_is_one_group():
    model = Flattened()
    (group,) = groups(model)
    kernel = model.read.weight.detach().view(5, 3, 4)
    assert group.num_groups == 3
    assert group.scale == pytest.approx(math.sqrt(20))
    torch.testing.assert_close(group.norms(), kernel.norm(dim=(0, 2)))
    group.clear(torch.tensor([False, True, False]))
    assert (model.read.weight[:, 4:8] == 0).all()
    assert (model.read.weight[:, :4] != 0).all()
    assert group.is_zero().tolist() == [False, True, False]
    (each,) = groups(Flattened(places=1))
    assert each.num_groups == 12
    (filters,) = groups(model, by="filter")
    assert filters.num_groups == 5


def test_the_same_groups_through_a_factor():
    model = Flattened()
    expand(model, tasks=("a",), layers="read")
    (group,) = groups(model)
    assert group.num_groups == 3
    torch.testing.assert_close(
        group.norms(), model.read.weight.detach().view(5, 3, 4).norm(dim=(0, 2))
    )


def test_a_penalty_zeroes_whole_channels():
    model = Flattened()
    optimizer = ProximalAdamW(model.parameters(), groups=groups(model), lr=0.05, lam=0.3)
    x = torch.rand(16, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    for _ in range(60):
        optimizer.zero_grad()
        (model(x) - x[:, :1].sum((2, 3))).square().mean().backward()
        optimizer.step()
    zero = (model.read.weight.detach() == 0).view(5, 3, 4)
    assert zero.any()
    assert torch.equal(zero.any(dim=(0, 2)), zero.all(dim=2).all(dim=0))
