"""Which loss trains which factors."""

import pytest
import torch
from torch import nn

import compactmtl.overparam as op
from compactmtl.errors import UsageError

TASKS = ("a", "b", "c")


class Two(nn.Module):
    """A shared layer and one head per task."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.heads = nn.ModuleDict({task: nn.Conv2d(8, 2, 1) for task in TASKS})

    def forward(self, image):
        features = self.encoder(image)
        return {task: head(features) for task, head in self.heads.items()}


def losses(net: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    outputs = net(image)
    return {t: (i + 1) * outputs[t].square().mean() for i, t in enumerate(TASKS)}


def expanded(method: str) -> Two:
    torch.manual_seed(1)
    net = Two().double()
    op.expand(net, tasks=TASKS, method=method, layers="encoder.*")
    with torch.no_grad():  # away from ones, where a product and a block differ
        for task in TASKS:
            for parameter in op.task_parameters(net, task):
                parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
    return net


@pytest.mark.parametrize(("method", "sizes"), [("mshare", [3, 3, 2]), ("uvshare", [3, 3, 2])])
def test_blocks_cover_the_rank_and_differ_by_one_at_most(method, sizes):
    net = nn.Sequential(nn.Linear(8, 8))
    op.expand(net, tasks=TASKS, method=method, layers="*")
    found = [op.task_parameters(net, task)[0].shape[-1] for task in TASKS]
    assert sorted(found, reverse=True) == sizes
    assert sum(found) == 8


def test_a_rank_below_the_number_of_tasks_is_left_dense():
    net = nn.Sequential(nn.Linear(8, 2))
    with pytest.raises(UsageError, match="rank 2 has no block for each of 3 tasks"):
        op.expand(net, tasks=TASKS, method="mshare", layers="*")
    assert not op.is_expanded(net)


@pytest.mark.parametrize("method", ["umv", "mshare", "uvshare"])
def test_a_minibatch_step_gives_every_factor_its_own_gradient(method):
    net, image = expanded(method), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    decay = 0.1
    expected = {}
    for task in TASKS:  # by plain autograd, one graph each
        total = losses(net, image)[task] + op.frobenius(net, decay)
        own = op.task_parameters(net, task)
        expected |= dict(zip(map(id, own), torch.autograd.grad(total, own), strict=True))
    rest = [p for p in net.parameters() if id(p) not in expected]
    total = sum(losses(net, image).values()) + op.frobenius(net, decay)
    expected |= dict(zip(map(id, rest), torch.autograd.grad(total, rest), strict=True))

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with op.minibatch_step(net, optimizer, frobenius=decay) as of_task:
        for task, loss in losses(net, image).items():
            with of_task(task):
                loss.backward(retain_graph=True)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[id(parameter)], rtol=0, atol=1e-12,
                                   msg=name)  # fmt: skip
    # The oracle tells a task's own gradient from that of all.
    everything = torch.autograd.grad(sum(losses(net, image).values()), op.task_parameters(net, "a"))
    assert (everything[0] - op.task_parameters(net, "a")[0].grad).abs().max() > 1e-3


@pytest.mark.parametrize("method", ["mshare", "uvshare"])
def test_a_task_step_moves_that_tasks_block_alone(method):
    net, image = expanded(method), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    optimizer = torch.optim.Adam(op.task_parameters(net, "b"), lr=0.1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with op.task_step(net, "b", optimizer):
        losses(net, image)["b"].backward()
    optimizer.step()
    moved = {
        name for name, value in net.state_dict().items() if not torch.equal(value, before[name])
    }
    assert moved
    assert all(name.endswith("_b") for name in moved)


def test_a_minibatch_step_refuses_what_it_cannot_do():
    net = Two()
    op.expand(net, tasks=TASKS, method="umv", layers="encoder.*")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for task in TASKS:
        for parameter in op.task_parameters(net, task):
            parameter.grad = torch.ones_like(parameter)
    with (
        pytest.raises(UsageError, match="other parameters with a gradient"),
        op.minibatch_step(net, optimizer),
    ):
        pass
    fnl = Two()
    op.expand(fnl, tasks=TASKS, method="fnl", layers="encoder.*")
    assert not op.trains_by_task(fnl)
    assert op.trains_by_task(net)
