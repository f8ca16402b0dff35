import copy

import pytest
import torch
from torch import nn

import compactmtl.overparam as op
from compactmtl.errors import UsageError

TASKS = ("a", "b")
C = 1e-2


class TwoTasks(nn.Module):
    encoder_layers = ("encoder.*",)

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4)
        )
        self.heads = nn.ModuleDict({"a": nn.Conv2d(4, 2, 1), "b": nn.Conv2d(4, 1, 1)})

    def forward(self, image):
        features = self.encoder(image).relu()
        return {name: head(features) for name, head in self.heads.items()}


def network() -> nn.Module:
    torch.manual_seed(0)
    net = TwoTasks().double()
    op.expand(net, tasks=TASKS)
    return net


def batches(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randn(count, 4, 3, 8, 8, dtype=torch.float64, generator=generator))


def adam(net: nn.Module, **settings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(op.param_groups(net, 1e-2, 3e-2, 0.1), **settings)


def loss_of(net: nn.Module, task: str, image: torch.Tensor) -> torch.Tensor:
    return (net(image)[task] - image[:, :1, 2:-2, 2:-2]).square().mean()


def test_equals_a_plain_loop_over_steps_tasks_and_micro_batches():
    plain, ours = network(), network()
    # a bias before batch norm has a gradient of pure rounding; a larger eps keeps Adam off it
    optimizers = adam(plain, eps=1e-6), adam(ours, eps=1e-6)
    images = batches(8)
    for step in range(4):
        micro = images[2 * step : 2 * step + 2]
        for optimizer in optimizers:
            optimizer.zero_grad()
        for image in micro:
            for task in TASKS:
                loss_of(plain, task, image).backward()
        op.frobenius(plain, C).backward()
        with op.training_step(ours, optimizers[1], frobenius=C):
            for image in micro:
                for task in TASKS:
                    loss_of(ours, task, image).backward()
        for optimizer in optimizers:
            optimizer.step()
    for (name, one), (_, other) in zip(
        plain.state_dict().items(), ours.state_dict().items(), strict=True
    ):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-11, msg=lambda m, n=name: n + m)
    assert min(op.m_reach(ours).values()) > 0.01


def test_the_oracle_sees_a_frobenius_term_added_per_backward():
    plain, ours = network(), network()
    image = batches(1)[0]
    for task in TASKS:
        (loss_of(plain, task, image) + op.frobenius(plain, C)).backward()
    with op.training_step(ours, adam(ours), frobenius=C):
        for task in TASKS:
            loss_of(ours, task, image).backward()
    one, other = (net.encoder[0].parametrizations.weight[0].U.grad for net in (plain, ours))
    assert (one - other).abs().max() > 1e-3


def test_contracts_once_however_many_passes(monkeypatch):
    net, calls = network(), []
    kind = type(net.encoder[0].parametrizations.weight[0])
    product = kind.product
    monkeypatch.setattr(kind, "product", lambda self, t: calls.append(1) or product(self, t))
    with op.training_step(net, adam(net)):
        for image in batches(3):
            loss_of(net, "a", image).backward()
    assert len(calls) == 2  # layers


def test_frozen_m_gets_no_gradient_and_does_not_move():
    net = network()
    optimizer = adam(net)
    for image in batches(3):
        optimizer.zero_grad()
        with op.training_step(net, optimizer, freeze_m=True):
            loss_of(net, "a", image).backward()
        assert all(p.grad is None for task in TASKS for p in op.task_parameters(net, task))
        optimizer.step()
    assert op.m_reach(net) == {"a": 0.0, "b": 0.0}
    assert net.encoder[0].parametrizations.weight[0].V.grad.abs().max() > 0


def test_an_m_of_another_optimiser_keeps_its_gradient():
    net = network()
    others = op.param_groups(net, 1e-2)[:2]
    (vector, *_) = op.task_parameters(net, "a")
    vector.grad = kept = torch.ones_like(vector)
    with op.training_step(net, torch.optim.AdamW(others), freeze_m=True):
        loss_of(net, "a", batches(1)[0]).backward()
    assert vector.grad is kept
    assert (kept == 1).all()


def test_an_old_gradient_of_a_frozen_m_is_an_error():
    net = network()
    optimizer = adam(net)
    loss_of(net, "a", batches(1)[0]).backward()
    with (
        pytest.raises(UsageError, match="m is frozen in this step"),
        op.training_step(net, optimizer, freeze_m=True),
    ):
        pass


def test_gradients_add_up_over_blocks_as_over_backward_passes():
    net, image = network(), batches(1)[0]
    optimizer = adam(net)
    U = net.encoder[0].parametrizations.weight[0].U
    with op.training_step(net, optimizer, frobenius=0.0):
        loss_of(net.eval(), "a", image).backward()
    once = U.grad.clone()
    with op.training_step(net, optimizer, frobenius=0.0):
        loss_of(net, "a", image).backward()
    torch.testing.assert_close(U.grad, 2 * once, rtol=1e-12, atol=0)


def test_scaled_losses_give_scaled_gradients_and_the_same_step():
    plain, ours = network(), network()
    image = batches(1)[0]
    optimizers = [torch.optim.SGD(op.param_groups(net, 0.1)) for net in (plain, ours)]
    with op.training_step(plain, optimizers[0], frobenius=C):
        loss_of(plain, "a", image).backward()
    optimizers[0].step()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with op.training_step(ours, optimizers[1], frobenius=C, scaler=scaler):
        scaler.scale(loss_of(ours, "a", image)).backward()
    scaler.step(optimizers[1])
    scaler.update()
    for one, other in zip(plain.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-13)


def test_an_infinite_gradient_of_a_kernel_makes_the_scaler_skip_the_step():
    net = network()
    optimizer = adam(net)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = copy.deepcopy(net.state_dict())
    with op.training_step(net, optimizer, scaler=scaler):
        scaler.scale(net.encoder[0].weight.sum() * 1e308).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 512.0
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_an_exception_inside_leaves_no_gradient_and_no_leaf():
    net = network()
    optimizer = adam(net)
    with pytest.raises(RuntimeError, match="mine"), op.training_step(net, optimizer):
        raise RuntimeError("mine")
    factors = net.encoder[0].parametrizations.weight[0]
    assert factors.U.grad is None
    assert factors.leaf is None


def test_a_copy_made_inside_does_not_keep_the_steps_kernel():
    net = network()
    with op.training_step(net, adam(net)):
        twin = copy.deepcopy(net)
    assert twin.encoder[0].weight.grad_fn is not None


def test_a_frozen_layer_is_left_alone():
    net = network()
    for parameter in net.encoder[0].parameters():
        parameter.requires_grad_(False)
    with op.training_step(net, adam(net)):
        loss_of(net, "a", batches(1)[0]).backward()
    assert net.encoder[0].parametrizations.weight[0].U.grad is None
    assert net.encoder[3].parametrizations.weight[0].U.grad is not None


def test_wrong_calls_are_refused():
    net = network()
    with pytest.raises(UsageError, match="not expanded"), op.training_step(TwoTasks(), adam(net)):
        pass
    with (
        pytest.raises(UsageError, match="nested"),
        op.training_step(net, adam(net)),
        op.training_step(net, adam(net)),
    ):
        pass
    assert net.encoder[0].parametrizations.weight[0].leaf is None


def test_an_optimiser_built_before_expand_is_an_error():
    net = TwoTasks()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    op.expand(net, tasks=TASKS)
    with pytest.raises(UsageError, match="built before `expand`"), op.training_step(net, optimizer):
        pass


def test_an_optimiser_that_decays_m_is_an_error():
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    with (
        pytest.raises(UsageError, match=r"decays m: weight_decay of parameter group 0 is 0.01"),
        op.training_step(net, optimizer),
    ):
        pass


def test_a_short_training_learns():
    net, image = network(), batches(1)[0]
    optimizer = adam(net)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        with op.training_step(net, optimizer):
            loss = loss_of(net, "a", image)
            loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
