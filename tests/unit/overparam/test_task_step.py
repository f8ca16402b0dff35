import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import compactmtl.overparam as op
from compactmtl.errors import UsageError
from compactmtl.overparam.kernel import expanded_layers
from compactmtl.overparam.spectral import kernel_matrix

TASKS = ("a", "b", "c")
PREFIX = ".parametrizations.weight.0."


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4)
    ).double()
    op.expand(net, tasks=TASKS, layers="*")
    with torch.no_grad():
        for _, _, factors in expanded_layers(net):
            for task in TASKS:
                factors.vector(task).mul_(1 + 0.1 * torch.randn_like(factors.vector(task)))
    return net


IMAGE = torch.linspace(-1, 1, 2 * 3 * 8 * 8, dtype=torch.float64).sin().reshape(2, 3, 8, 8)


def task_adam(net: nn.Module, task: str) -> torch.optim.Optimizer:
    return torch.optim.Adam(op.task_parameters(net, task), lr=1e-2)


def test_only_this_tasks_m_moves_bit_by_bit():
    net = network()
    before = copy.deepcopy(net.state_dict())
    optimizer = task_adam(net, "b")
    for _ in range(3):
        optimizer.zero_grad()
        with op.task_step(net, "b", optimizer):
            net(IMAGE).square().mean().backward()
        optimizer.step()
    for key, value in net.state_dict().items():
        moved = not torch.equal(value, before[key])
        assert moved == key.endswith(f"{PREFIX}m_b"), key


def test_a_plain_step_would_move_the_rest_too():
    net = network()
    before = copy.deepcopy(net.state_dict())
    net(IMAGE).square().mean().backward()
    task_adam(net, "b").step()
    assert not torch.equal(net[1].running_mean, before["1.running_mean"])
    assert net[0].parametrizations.weight[0].U.grad is not None


def test_the_gradient_is_the_diagonal_formula_with_the_frobenius_term():
    net, c = network(), 0.3
    with op.task_step(net, "b", frobenius=c):
        net(IMAGE).square().mean().backward()
    dense = op.contract(copy.deepcopy(net))
    (dense(IMAGE).square().mean()).backward()
    for name, _, f in expanded_layers(net):
        weight = dense.get_submodule(name).weight
        G = kernel_matrix(weight.grad + c * weight.detach())
        dm = (f.U.T @ G @ f.V.T).diagonal() * f.m_a * f.m_c
        torch.testing.assert_close(f.m_b.grad, dm.detach(), rtol=1e-9, atol=1e-12)
        assert all(p.grad is None for n, p in f.named_parameters() if n != "m_b")


def test_batch_norm_uses_the_batch_as_in_training():
    net = network()
    expected = copy.deepcopy(net)(IMAGE)
    with op.task_step(net, "a"):
        output = net(IMAGE)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_restored_on_leaving(fails):
    net = network()
    net[3].bias.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    buffers = {name: buffer.data_ptr() for name, buffer in net.named_buffers()}
    wanted = {name: p.requires_grad for name, p in net.named_parameters()}
    try:
        with op.task_step(net, "a"):
            net(IMAGE)
            net[1].running_var = torch.ones(6, dtype=torch.float64)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert {name: p.requires_grad for name, p in net.named_parameters()} == wanted
    assert {name: buffer.data_ptr() for name, buffer in net.named_buffers()} == buffers
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    assert all(factors.leaf is None for _, _, factors in expanded_layers(net))


def test_one_optimiser_for_everything_works_when_gradients_are_clear():
    net = network()
    optimizer = torch.optim.AdamW(op.param_groups(net, 1e-2, weight_decay=0.1))
    before = copy.deepcopy(net.state_dict())
    with op.task_step(net, "c", optimizer):
        net(IMAGE).square().mean().backward()
    optimizer.step()
    moved = [k for k, v in net.state_dict().items() if not torch.equal(v, before[k])]
    assert moved == [f"0{PREFIX}m_c", f"3{PREFIX}m_c"]
    with (
        pytest.raises(UsageError, match="only m of task `a` is trained"),
        op.task_step(net, "a", optimizer),
    ):
        pass


def test_wrong_calls_are_refused():
    net = network()
    with pytest.raises(UsageError, match="did you mean `a`"), op.task_step(net, "aa"):
        pass
    with (
        pytest.raises(UsageError, match="built before"),
        op.task_step(net, "a", task_adam(net, "b")),
    ):
        pass
    decaying = torch.optim.Adam(op.task_parameters(net, "a"), weight_decay=0.1)
    with pytest.raises(UsageError, match="decays m"), op.task_step(net, "a", decaying):
        pass
    with pytest.raises(UsageError, match="not expanded"), op.task_step(nn.Linear(2, 2), "a"):
        pass


def test_the_scaler_scales_the_whole_gradient():
    one, other = network(), network()
    with op.task_step(one, "a", frobenius=0.1):
        one(IMAGE).square().mean().backward()
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    with op.task_step(other, "a", frobenius=0.1, scaler=scaler):
        scaler.scale(other(IMAGE).square().mean()).backward()
    for p, q in zip(op.task_parameters(one, "a"), op.task_parameters(other, "a"), strict=True):
        torch.testing.assert_close(q.grad, 8 * p.grad, rtol=1e-12, atol=0)


def num_macs(step) -> int:
    """Count the multiply-accumulates of one block on a layer of 24x32, five samples."""
    net = nn.Linear(32, 24, bias=False)
    op.expand(net, tasks=TASKS, layers="*")
    with FlopCounterMode(display=False) as counter, step(net):
        net(torch.ones(5, 32)).sum().backward()
    return counter.get_total_flops() // 2


def test_a_task_step_takes_one_product_back_to_m_and_computes_no_gradient_of_u_and_v():
    contraction, layer = 24 * 24 * 32, 5 * 24 * 32
    main = num_macs(lambda net: op.training_step(net, torch.optim.SGD(net.parameters())))
    assert main == 3 * contraction + 2 * layer  # forward, dU and dV
    assert num_macs(lambda net: op.task_step(net, "a")) == 2 * contraction + 2 * layer


@pytest.mark.parametrize("step", ["training", "task"])
def test_a_step_contracts_in_float32_under_autocast(step):
    net = nn.Linear(16, 16)
    op.expand(net, tasks=TASKS, layers="*")
    exact = op.contract(copy.deepcopy(net)).weight
    optimizer = torch.optim.SGD(op.param_groups(net, 0.1))
    block = op.training_step(net, optimizer) if step == "training" else op.task_step(net, "a")
    with torch.autocast("cpu", dtype=torch.bfloat16), block:
        assert net(torch.ones(2, 16)).dtype == torch.bfloat16
        assert net.weight.dtype == torch.float32
        torch.testing.assert_close(net.weight, exact, rtol=1e-5, atol=1e-6)
        net(torch.ones(2, 16)).sum().backward()
    assert op.task_parameters(net, "a")[0].grad.dtype == torch.float32
    rounded = exact.bfloat16().float()
    assert (rounded - exact).abs().max() > 1e-4  # what a contraction under autocast would give
