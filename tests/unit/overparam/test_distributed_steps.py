"""The steps under DistributedDataParallel: two real processes over gloo."""

from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import compactmtl.overparam as op
from compactmtl.overparam.replicas import averaged_apart

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
    by_task = {t: torch.optim.SGD(op.task_parameters(net, t), lr=0.1) for t in ("a", "b")}
    own = by_task["b"]
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
        for optimizer in (main, *by_task.values()):
            optimizer.zero_grad()
        with op.minibatch_step(module, main, frobenius=0.1) as of_task:
            losses = {"a": module(image).square().mean(), "b": module(image).abs().mean()}
            for task, loss in losses.items():
                with of_task(task):
                    loss.backward(retain_graph=True)
        for optimizer in by_task.values():
            optimizer.step()
            optimizer.zero_grad()
        main.step()
    return net.state_dict()


def part(rank: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Average two gradients: one that the first process has alone, one that no process has."""
    net = nn.ParameterList([torch.zeros(3), torch.zeros(2)])
    net[0].grad = torch.ones(3)  # of a block before this one
    with averaged_apart(DistributedDataParallel(net), list(net)):
        if rank == 0:
            net[0].sum().backward()
    return net[0].grad, net[1].grad


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", WORLD)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=WORLD)
    net = network()
    state = train(net, DistributedDataParallel(net), images().chunk(WORLD)[rank])
    torch.save((state, part(rank)), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_equal_one_with_the_whole_batch(tmp_path: Path):
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=WORLD)
    net = network()
    expected = train(net, net, images())
    for rank in range(WORLD):
        state, (here_and_there, nowhere) = torch.load(tmp_path / f"{rank}.pt")
        for key, value in state.items():
            torch.testing.assert_close(value, expected[key], rtol=1e-9, atol=1e-12)
        # What one process lacks counts as zero there, and the earlier gradient is added.
        torch.testing.assert_close(here_and_there, torch.full((3,), 1 + 1 / WORLD))
        assert nowhere is None
    assert op.m_reach(net)["b"] > 0
