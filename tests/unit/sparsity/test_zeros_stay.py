"""Zeros stay exactly zero, and are the same, with everything that stands around an optimiser."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn

import compactmtl as cm
from compactmtl.errors import UsageError
from compactmtl.overparam import expand, param_groups
from compactmtl.sparsity import ProximalAdamW, group_sparsity, groups

WORLD = 2


def network(expanded: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 4, 3)]
    net = nn.Sequential(*layers)
    if expanded:
        expand(net, tasks=("a",), layers="*")
    return net


def build(net: nn.Module, **settings) -> ProximalAdamW:
    found = groups(net, layers="*", reads=())
    chosen = {"lam": 0.1, "lr": 1e-2, **settings}
    optimizer = ProximalAdamW(param_groups(net, chosen["lr"]), groups=found, **chosen)
    optimizer.max_zero_groups = 8
    return optimizer


def batches(count: int, start: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1 + start)
    return list(torch.randn(count, 4, 3, 9, 9, generator=generator))


def loss_of(net: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    return (net(image) - image[:, :1, 2:-2, 2:-2]).square().mean()


def train(net: nn.Module, optimizer: ProximalAdamW, images: list[Tensor]) -> None:
    for image in images:
        optimizer.zero_grad()
        loss_of(net, image).backward()
        optimizer.step()


def zeros(net: nn.Module) -> list[list[bool]]:
    return [group.is_zero().tolist() for group in groups(net, layers="*", reads=())]


@pytest.fixture(params=["plain", "expanded"])
def frozen(request) -> tuple[nn.Module, ProximalAdamW, list[list[bool]]]:
    """A network in the middle of its training, its zeros frozen, and where they are."""
    net = network(request.param == "expanded")
    optimizer = build(net)
    train(net, optimizer, batches(25))
    optimizer.lam = 0.0
    optimizer.freeze_zeros()
    found = zeros(net)
    assert any(found[1])
    assert not all(found[1])
    return net, optimizer, found


@pytest.mark.parametrize("kind", ["ema", "swa"])
@pytest.mark.parametrize("expanded", [False, True])
def test_averages_of_weights_get_the_zeros_of_the_network(kind, expanded):
    net = network(expanded)
    optimizer = build(net)
    rule = get_ema_multi_avg_fn(0.9) if kind == "ema" else None
    average = AveragedModel(net, multi_avg_fn=rule)
    rates = SWALR(optimizer, swa_lr=5e-3, anneal_epochs=5)
    for image in batches(30):
        train(net, optimizer, [image])
        average.update_parameters(net)
        rates.step()
    found = groups(net, layers="*", reads=())
    share = group_sparsity(found)
    assert share > 0.2
    assert zeros(average.module) != zeros(net)  # the average itself never is zero
    alive = {name: p.clone() for name, p in average.module.named_parameters()}
    assert cm.apply_zero_mask(average, found) == sum(map(sum, zeros(net)))
    assert zeros(average.module) == zeros(net)
    for name, parameter in average.module.named_parameters():
        kept = parameter != 0
        assert torch.equal(parameter[kept], alive[name][kept])


def test_a_mask_for_another_network_is_refused():
    found = groups(network(), layers="*", reads=())
    with pytest.raises(UsageError, match="has no layer `0`"):
        cm.apply_zero_mask(nn.ModuleDict({"encoder": network()}), found)
    with pytest.raises(UsageError, match="expected"):
        cm.apply_zero_mask(network(expanded=True), found)


def test_grad_scaler_with_a_skipped_step(frozen):
    net, optimizer, found = frozen
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step, image in enumerate(batches(6, start=1)):
        before = copy.deepcopy(net.state_dict())
        optimizer.zero_grad()
        scaler.scale(loss_of(net, image)).backward()
        if step == 2:
            next(net.parameters()).grad[0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
        moved = any(not torch.equal(before[name], p) for name, p in net.named_parameters())
        assert moved == (step != 2)  # the proximal step is skipped with the step
        assert zeros(net) == found


def test_a_skipped_step_shrinks_nothing():
    net = network()
    optimizer = build(net, lam=10.0)
    train(net, optimizer, batches(2))
    before, scaler = copy.deepcopy(net.state_dict()), torch.amp.GradScaler("cpu")
    optimizer.zero_grad()
    scaler.scale(loss_of(net, batches(1)[0])).backward()
    net[3].weight.grad[0] = torch.nan
    scaler.step(optimizer)
    assert all(torch.equal(before[name], p) for name, p in net.named_parameters())


@pytest.mark.parametrize("how", ["norm", "value"])
def test_gradient_clipping(frozen, how):
    net, optimizer, found = frozen
    for image in batches(6, start=2):
        optimizer.zero_grad()
        loss_of(net, image).backward()
        if how == "norm":
            nn.utils.clip_grad_norm_(net.parameters(), 1e-3)
        else:
            nn.utils.clip_grad_value_(net.parameters(), 1e-4)
        optimizer.step()
    assert zeros(net) == found


def test_accumulation_of_gradients_over_micro_batches(frozen):
    net, optimizer, found = frozen
    images = batches(8, start=3)
    for pair in zip(images[::2], images[1::2], strict=True):
        optimizer.zero_grad()
        for image in pair:
            (loss_of(net, image) / 2).backward()
        optimizer.step()
    assert zeros(net) == found


@pytest.mark.parametrize(
    "rates",
    [
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 6),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=9, cycle_momentum=False),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.0 if step == 2 else 30.0),
    ],
    ids=["cosine", "one cycle", "zero and huge"],
)
def test_learning_rate_schedules(frozen, rates):
    net, optimizer, found = frozen
    schedule = rates(optimizer)
    for image in batches(6, start=4):
        train(net, optimizer, [image])
        schedule.step()
        assert zeros(net) == found


def test_the_threshold_falls_with_the_learning_rate():
    def dead(lr: float) -> float:
        net = network()
        train(net, build(net, lr=lr), batches(3))
        return group_sparsity(groups(net, layers="*", reads=()))

    assert dead(0.0) == 0.0
    assert dead(1e-1) > dead(1e-3)


@pytest.mark.parametrize(
    "backend",
    ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)],
)
def test_torch_compile(frozen, backend):
    if backend == "inductor" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler for torch.compile here")
    net, optimizer, found = frozen
    compiled = torch.compile(net, backend=backend)
    train(compiled, optimizer, batches(4, start=5))
    assert zeros(net) == found
    assert cm.apply_zero_mask(compiled, groups(net, layers="*", reads=())) == sum(map(sum, found))
    torch.compiler.reset()


def test_channels_last(frozen):
    net, optimizer, found = frozen
    net.to(memory_format=torch.channels_last)
    images = [image.contiguous(memory_format=torch.channels_last) for image in batches(4, start=6)]
    train(net, optimizer, images)
    assert zeros(net) == found


def test_channels_last_changes_no_zero_and_no_kernel_beyond_rounding():
    one, two = network(), network().to(memory_format=torch.channels_last)
    first, second = build(one), build(two)
    train(one, first, batches(5))
    train(two, second, batches(5))
    assert not two[0].weight.is_contiguous()
    assert zeros(one) == zeros(two)
    for i in (0, 3):  # a bias in front of batch norm has no gradient but rounding
        torch.testing.assert_close(two[i].weight, one[i].weight, rtol=0, atol=1e-3)


def test_save_and_reload_in_the_middle(frozen, tmp_path):
    net, optimizer, found = frozen
    torch.save([net.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    again = network(expanded=any("parametrizations" in name for name in weights))
    again.load_state_dict(weights)
    resumed = build(again)
    resumed.load_state_dict(state)
    for one, two in ((net, optimizer), (again, resumed)):
        train(one, two, batches(5, start=7))
        assert zeros(one) == found
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", WORLD)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=WORLD)
    results = {}
    for expanded in (False, True):
        net = network(expanded)
        optimizer = build(net)
        module = DistributedDataParallel(net)
        own = [image.chunk(WORLD)[rank] for image in batches(30)]
        train(module, optimizer, own[:22])
        optimizer.lam = 0.0
        optimizer.freeze_zeros()
        frozen = zeros(net)
        train(module, optimizer, own[22:])
        cm.apply_zero_mask(module, groups(net, layers="*", reads=()))
        weights = {name: p.detach() for name, p in net.named_parameters()}
        results[str(expanded)] = (frozen, zeros(net), weights)
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_ranks_have_the_same_zeros(tmp_path: Path):
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=WORLD)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD))
    for kind in one:
        frozen, after, weights = one[kind]
        assert any(frozen[1])
        assert frozen == after == two[kind][0] == two[kind][1]
        for name, weight in weights.items():
            assert torch.equal(weight, two[kind][2][name])
