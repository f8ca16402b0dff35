"""training_step and task_step under DistributedDataParallel: two real processes over gloo."""

from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import compactmtl.overparam as op

WORLD = 2


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)).double()
    op.expand(net, tasks=("a", "b"), layers="*")
    return net


def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2 * WORLD, 2, 6, 6, dtype=torch.float64, generator=generator)


def train(net: nn.Module, module: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    main = torch.optim.SGD(op.param_groups(net, 0.1))
    own = torch.optim.SGD(op.task_parameters(net, "b"), lr=0.1)
    for _ in range(2):
        own.zero_grad()
        with op.task_step(module, "b", own, frobenius=0.1):
            module(image).square().mean().backward()
        own.step()
        own.zero_grad()
        main.zero_grad()
        with op.training_step(module, main, frobenius=0.1, freeze_m=True):
            module(image).square().mean().backward()
        main.step()
    return net.state_dict()


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", WORLD)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=WORLD)
    net = network()
    state = train(net, DistributedDataParallel(net), images().chunk(WORLD)[rank])
    torch.save(state, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_equal_one_with_the_whole_batch(tmp_path: Path):
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=WORLD)
    net = network()
    expected = train(net, net, images())
    for rank in range(WORLD):
        for key, value in torch.load(tmp_path / f"{rank}.pt").items():
            torch.testing.assert_close(value, expected[key], rtol=1e-9, atol=1e-12)
    assert op.m_reach(net)["b"] > 0
