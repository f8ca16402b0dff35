"""Epoch orders, also as Lightning Fabric deals them out to several processes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from lightning_fabric.utilities.distributed import DistributedSamplerWrapper
from torch.utils.data import DataLoader

from compactmtl.data.order import EpochSampler, epoch_order


@given(st.integers(0, 200), st.integers(0, 2**64 - 1), st.integers(0, 1000))
def test_epoch_order_is_a_permutation(num_samples, seed, epoch):
    order = epoch_order(num_samples, seed, epoch)
    assert sorted(order) == list(range(num_samples))
    assert order == epoch_order(num_samples, seed, epoch)


def test_neighbouring_seeds_and_epochs_do_not_share_orders():
    orders = {tuple(epoch_order(30, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_started_epoch_also_fixes_the_generator():
    used, fresh = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    torch.rand(17, generator=used)
    EpochSampler(4, used).start_epoch(3)
    EpochSampler(4, fresh).start_epoch(3)
    assert torch.equal(used.get_state(), fresh.get_state())


def test_ranks_share_one_order_between_them():
    dealt = []
    for rank in range(2):
        sampler = EpochSampler(10, torch.Generator().manual_seed(1))
        sampler.start_epoch(4)
        wrapper = DistributedSamplerWrapper(sampler, num_replicas=2, rank=rank, shuffle=False)
        dealt.append(list(wrapper))
    assert dealt[0] == epoch_order(10, 1, 4)[0::2]
    assert dealt[1] == epoch_order(10, 1, 4)[1::2]


@pytest.mark.parametrize("epoch", [0, 6])
def test_fabric_does_not_change_the_epoch(epoch):
    sampler = EpochSampler(10, torch.Generator().manual_seed(1))
    fabric = Fabric(accelerator="cpu", devices=1)
    batches = fabric.setup_dataloaders(DataLoader(range(10), sampler=sampler, batch_size=5))
    sampler.start_epoch(epoch)
    for _ in range(2):
        assert torch.cat(list(batches)).tolist() == epoch_order(10, 1, epoch)
