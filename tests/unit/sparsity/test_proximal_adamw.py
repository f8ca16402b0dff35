import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from compactmtl.errors import UsageError
from compactmtl.sparsity import ProximalAdamW, group_prox, group_sparsity, groups
from compactmtl.sparsity import shrink as shrinking

DOUBLE = torch.float64


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 4, 3)]
    return nn.Sequential(*layers).to(dtype)


def build(net: nn.Module, **settings) -> ProximalAdamW:
    found = groups(net, layers="*", reads=())
    return ProximalAdamW(net.parameters(), groups=found, **{"lam": 0.0, "lr": 1e-2, **settings})


def images(count: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randn(count, 4, 3, 9, 9, dtype=dtype, generator=generator))


def backward(net: nn.Module, image: Tensor) -> None:
    net.zero_grad()
    (net(image) - image[:, :1, 2:-2, 2:-2]).square().mean().backward()


def train(net: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for image in batches:
        backward(net, image)
        optimizer.step()


def zeros(net: nn.Module) -> list[list[bool]]:
    return [(net[i].weight == 0).flatten(2).all(2).all(0).tolist() for i in (0, 3)]


def test_without_penalty_it_is_adamw_for_fifty_steps():
    plain, ours = network(), network()
    reference = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.1)
    optimizer = build(ours, weight_decay=0.1)
    for image in images(50):
        train(plain, reference, [image])
        train(ours, optimizer, [image])
        for one, other in zip(plain.parameters(), ours.parameters(), strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-7)


def test_a_step_is_adamw_then_the_exact_prox_in_its_metric():
    net, lam, lr, beta2, eps = network(DOUBLE), 0.03, 1e-2, 0.95, 1e-6
    twin = copy.deepcopy(net)
    optimizer = build(net, lam=lam, betas=(0.9, beta2), eps=eps, weight_decay=0.2)
    plain = torch.optim.AdamW(
        twin.parameters(), lr=lr, betas=(0.9, beta2), eps=eps, weight_decay=0.2
    )
    v = torch.zeros_like(net[3].weight)
    for t, image in enumerate(images(12, DOUBLE), start=1):
        train(net, optimizer, [image])
        train(twin, plain, [image])
        v = beta2 * v + (1 - beta2) * net[3].weight.grad.square()
        d = (v / (1 - beta2**t)).sqrt() + eps
        x = twin[3].weight.detach()
        expected = torch.zeros_like(x)
        for c in range(12):
            mu = lr * lam * (4 * 9) ** 0.5
            row = group_prox(x[:, c].reshape(1, -1), d[:, c].reshape(1, -1), mu)
            expected[:, c] = row.reshape(4, 3, 3)
        torch.testing.assert_close(net[3].weight.detach(), expected, rtol=1e-9, atol=1e-14)
        twin.load_state_dict(net.state_dict())  # the momentum is plain Adam's own in both


def test_the_reference_metric_has_no_bias_correction():
    net = network(DOUBLE)
    other = copy.deepcopy(net)
    (image,) = images(1, DOUBLE)
    train(net, build(net, lam=0.01 * (1 - 0.999) ** -0.5, eps=0.0), [image])
    train(other, build(other, lam=0.01, eps=0.0, metric="reference"), [image])
    # with eps = 0 the metric without correction is sqrt(1 - b2) times Adam's: lam counts 31.6 times
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-14)


def test_a_penalty_makes_exact_zeros_and_only_in_the_groups():
    net = network()
    optimizer = build(net, lam=0.1)
    train(net, optimizer, images(40))
    share = group_sparsity(groups(net, layers="*", reads=()))
    assert 0.2 < share <= 1.0
    assert (net[1].weight != 0).all()
    dead = (net[3].weight == 0).flatten(2).all(2)
    assert (dead.all(0) == dead.any(0)).all()


def test_frozen_zeros_stay_zero_through_save_load_and_a_new_learning_rate():
    net = network()
    optimizer = build(net, lam=0.1)
    optimizer.max_zero_groups = 8
    batches = images(60)
    train(net, optimizer, batches[:25])
    optimizer.lam = 0.0
    optimizer.freeze_zeros()
    assert optimizer.frozen
    before = zeros(net)
    assert any(before[1])
    assert not all(before[1])
    train(net, optimizer, batches[25:35])
    assert zeros(net) == before

    again = network()
    again.load_state_dict(net.state_dict())
    resumed = build(again, lam=0.5)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert resumed.frozen
    assert resumed.lam == 0.0
    for one, two in ((net, optimizer), (again, resumed)):
        for param_group in two.param_groups:
            param_group["lr"] = 0.1
        train(one, two, batches[35:])
    assert zeros(net) == before
    for one, two in zip(net.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=0)


def test_without_the_mask_zeros_come_back():
    net = network()
    optimizer = build(net, lam=0.1)
    train(net, optimizer, images(25))
    before = zeros(net)
    optimizer.lam = 0.0
    train(net, optimizer, images(3))
    assert zeros(net) != before


def test_freezing_before_the_first_step_works():
    net = network()
    with torch.no_grad():
        net[3].weight[:, 5] = 0.0
    optimizer = build(net)
    optimizer.freeze_zeros()
    train(net, optimizer, images(3))
    assert zeros(net)[1] == [c == 5 for c in range(12)]


def test_state_survives_a_file_read_with_weights_only(tmp_path):
    net = network()
    optimizer = build(net, lam=0.1)
    optimizer.max_zero_groups = 7
    train(net, optimizer, images(25))
    optimizer.freeze_zeros()
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    resumed = build(network())
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (resumed.lam, resumed.max_zero_groups, resumed.frozen) == (0.1, 7, True)


def test_the_state_of_a_plain_adamw_can_be_taken_over():
    net = network()
    plain = torch.optim.AdamW(net.parameters(), lr=1e-3)
    train(net, plain, images(3))
    optimizer = build(net, lam=0.2)
    optimizer.load_state_dict(plain.state_dict())
    assert (optimizer.lam, optimizer.frozen) == (0.2, False)
    train(net, optimizer, images(2))


def test_a_mask_of_other_groups_is_an_error():
    net = network()
    optimizer = build(net)
    optimizer.freeze_zeros()
    state = optimizer.state_dict()
    state["live_groups"]["9"] = state["live_groups"].pop("0")
    with pytest.raises(UsageError, match="mask for groups"):
        build(net).load_state_dict(state)


@pytest.mark.parametrize("limit", [0, 1, 6])
def test_no_step_exceeds_the_limit_and_the_weakest_groups_go(limit):
    net = network(DOUBLE)
    optimizer = build(net, lam=3.0)
    optimizer.max_zero_groups = limit
    for image in images(30, DOUBLE):
        train(net, optimizer, [image])
        assert sum(map(sum, zeros(net))) <= limit
    assert sum(map(sum, zeros(net))) == limit


def live_groups(net: nn.Module, found) -> list[int]:
    return [int((~group.is_zero()).sum()) for group in found]


@pytest.mark.parametrize("by", ["input", "filter", "weight"])
@pytest.mark.parametrize("in_parts", [True, False])
@pytest.mark.parametrize("cached", [True, False])
def test_under_a_limit_every_layer_keeps_a_group(monkeypatch, by, in_parts, cached):
    if in_parts:
        monkeypatch.setattr(shrinking, "BLOCK", 200)  # a kernel of 432 entries is several batches
    monkeypatch.setattr(shrinking, "_has_cache", lambda parameter: cached)
    net = network(DOUBLE)
    found = groups(net, layers="*", reads=(), by=by)
    optimizer = ProximalAdamW(net.parameters(), groups=found, lam=1e3, lr=1e-2)
    total = sum(group.num_groups for group in found)
    optimizer.max_zero_groups = total
    train(net, optimizer, images(3, DOUBLE))
    assert live_groups(net, found) == [1, 1]
    optimizer.freeze_zeros()
    optimizer.lam = 0.0
    train(net, optimizer, images(2, DOUBLE))
    assert live_groups(net, found) == [1, 1]


def test_without_a_limit_a_penalty_may_empty_a_layer():
    net = network(DOUBLE)
    optimizer = build(net, lam=1e3)
    train(net, optimizer, images(1, DOUBLE))
    assert live_groups(net, groups(net, layers="*", reads=())) == [0, 0]


@pytest.mark.parametrize(("limit", "live"), [(2, [1, 6]), (5, [1, 3]), (7, [1, 1])])
def test_groups_that_stay_take_no_part_in_the_limit(limit, live):
    torch.manual_seed(0)
    weak, strong = nn.Conv2d(3, 4, 3), nn.Conv2d(6, 4, 3)
    with torch.no_grad():
        weak.weight.mul_(1e-3)  # its three groups are the weakest of all nine, its best one too
    net = nn.ModuleList([weak, strong])
    optimizer = build(net, lam=1e9, lr=1e-6)
    optimizer.max_zero_groups = limit
    image = torch.randn(2, 6, 9, 9)
    (weak(image[:, :3]).square().mean() + strong(image).square().mean()).backward()
    optimizer.step()
    assert live_groups(net, groups(net, layers="*", reads=())) == live


def test_the_group_that_stays_is_the_best_of_its_layer_and_is_not_shrunk():
    net = network(DOUBLE)
    optimizer = build(net, lam=1e3)
    optimizer.max_zero_groups = 15
    twin = copy.deepcopy(net)
    plain = torch.optim.AdamW(twin.parameters(), lr=1e-2)
    (image,) = images(1, DOUBLE)
    train(net, optimizer, [image])
    train(twin, plain, [image])
    for i in (0, 3):
        d = twin[i].weight.grad.abs() + 1e-8
        best = (d * twin[i].weight.detach()).movedim(1, 0).flatten(1).norm(dim=1).argmax()
        torch.testing.assert_close(net[i].weight[:, best], twin[i].weight[:, best], rtol=0, atol=0)


def test_a_limit_that_is_not_met_changes_nothing():
    net, other = network(), network()
    one, two = build(net, lam=0.03), build(other, lam=0.03)
    two.max_zero_groups = 15
    train(net, one, images(15))
    train(other, two, images(15))
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=0)


def test_the_limit_kills_by_pull_over_threshold():
    net = network(DOUBLE)
    optimizer = build(net, lam=1e3)
    optimizer.max_zero_groups = 2
    twin = copy.deepcopy(net)
    plain = torch.optim.AdamW(twin.parameters(), lr=1e-2)
    (image,) = images(1, DOUBLE)
    train(net, optimizer, [image])
    train(twin, plain, [image])
    scores = []
    for i, size in ((0, 12 * 9), (3, 4 * 9)):
        d = twin[i].weight.grad.abs() + 1e-8
        pull = (d * twin[i].weight.detach()).movedim(1, 0).flatten(1).norm(dim=1)
        scores += [(value / size**0.5, i, c) for c, value in enumerate(pull.tolist())]
    killed = {(i, c) for i, row in zip((0, 3), zeros(net), strict=True) for c in range(len(row))
              if row[c]}  # fmt: skip
    assert killed == {(i, c) for _, i, c in sorted(scores)[:2]}


def test_lam_can_differ_between_parameter_groups():
    net = network()
    found = groups(net, layers="*", reads=())
    first, rest = list(net[0].parameters()), [*net[1].parameters(), *net[3].parameters()]
    settings = [{"params": first, "lam": 0.0}, {"params": rest}]
    optimizer = ProximalAdamW(settings, groups=found, lam=0.3, lr=1e-2)
    train(net, optimizer, images(20))
    assert not any(zeros(net)[0])
    assert any(zeros(net)[1])


def test_a_weight_without_gradient_is_not_shrunk():
    net = network()
    net[0].weight.requires_grad_(False)
    before = net[0].weight.clone()
    train(net, build(net, lam=0.3), images(3))
    assert torch.equal(net[0].weight, before)


def test_a_closure_and_a_learning_rate_schedule_work():
    net = network()
    optimizer = build(net, lam=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

    def closure() -> float:
        backward(net, images(1)[0])
        return 7.0

    assert optimizer.step(closure) == 7.0
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 5e-3


def test_fabrics_wrapper_shares_lam_limit_and_mask():
    from lightning_fabric import Fabric

    net = network()
    inner = build(net)
    module, wrapped = Fabric(accelerator="cpu", devices=1).setup(net, inner)
    wrapped.lam, wrapped.max_zero_groups = 0.25, 5
    train(module, wrapped, images(2))
    wrapped.freeze_zeros()
    assert (inner.lam, inner.max_zero_groups, inner.frozen) == (0.25, 5, True)
    assert wrapped.frozen
    assert wrapped.state_dict().keys() == inner.state_dict().keys()


@pytest.mark.parametrize("by", ["filter", "weight"])
def test_filters_and_single_weights_become_zero_and_stay_so(by):
    net = network()
    found = groups(net, layers="*", reads=(), by=by)
    optimizer = ProximalAdamW(net.parameters(), groups=found, lam=0.1, lr=1e-2)
    num = sum(group.num_groups for group in found)
    optimizer.max_zero_groups = num // 2
    train(net, optimizer, images(30))
    assert 0.2 < group_sparsity(found) <= 0.5
    if by == "weight":
        assert not any(map(all, zeros(net)))  # no structure
    optimizer.freeze_zeros()
    optimizer.lam = 0.0
    before = [group.is_zero() for group in found]
    resumed = copy.deepcopy(optimizer.state_dict())
    train(net, optimizer, images(5))
    assert all(torch.equal(g.is_zero(), mask) for g, mask in zip(found, before, strict=True))
    optimizer.load_state_dict(resumed)
    assert optimizer.frozen


def test_by_weight_is_the_soft_threshold_in_adams_metric():
    net, lam, lr = network(DOUBLE), 0.02, 1e-2
    twin = copy.deepcopy(net)
    found = groups(net, layers="*", reads=(), by="weight")
    optimizer = ProximalAdamW(net.parameters(), groups=found, lam=lam, lr=lr)
    plain = torch.optim.AdamW(twin.parameters(), lr=lr)
    (image,) = images(1, DOUBLE)
    train(net, optimizer, [image])
    train(twin, plain, [image])
    x, d = twin[3].weight.detach(), twin[3].weight.grad.abs() + 1e-8
    expected = x.sign() * (x.abs() - lr * lam / d).clamp_min(0)
    torch.testing.assert_close(net[3].weight.detach(), expected, rtol=1e-9, atol=1e-14)
    assert 0 < int((expected == 0).sum()) < expected.numel()


def test_a_share_of_l1_makes_single_weights_zero_too_and_they_stay_so(tmp_path):
    net = network()
    optimizer = build(net, lam=0.1, l1_share=0.3)
    optimizer.max_zero_groups = 8
    train(net, optimizer, images(30))
    found = groups(net, layers="*", reads=())
    dead, none = sum(int(g.is_zero().sum()) for g in found), [g.parameter == 0 for g in found]
    assert 2 <= dead <= 8
    in_dead = sum(int(g.is_zero().sum()) * round(g.scale**2) for g in found)
    assert sum(int(zero.sum()) for zero in none) > in_dead + 20
    optimizer.freeze_zeros()
    optimizer.lam = 0.0
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    optimizer = build(net, l1_share=0.3)
    optimizer.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    train(net, optimizer, images(5))
    assert all(torch.equal(g.parameter == 0, zero) for g, zero in zip(found, none, strict=True))


@pytest.mark.parametrize("settings", [{}, {"l1_share": 0.3}])
def test_kernels_that_are_joined_as_on_a_gpu_shrink_alike(settings, monkeypatch):
    def made() -> tuple[nn.Module, ProximalAdamW]:
        net = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)), nn.Conv2d(8, 4, 1))
        optimizer = build(net, lam=0.05, **settings)
        optimizer.max_zero_groups = 12
        return net, optimizer

    torch.manual_seed(0)
    net, optimizer = made()
    other, joined = made()
    other.load_state_dict(net.state_dict())
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        for one, two in zip(net.parameters(), other.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=generator) * 0.1
            two.grad = one.grad.clone()
        optimizer.step()
        with monkeypatch.context() as patch:
            patch.setattr("compactmtl.sparsity.shrink._has_cache", lambda parameter: False)
            joined.step()
    assert 2 <= sum(int(g.is_zero().sum()) for g in groups(net, layers="*", reads=())) <= 12
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-9)


def test_nothing_of_the_weights_is_read_on_the_host():
    # AdamW reads its own step counts, one scalar per kernel that it keeps on the CPU
    net = network()
    optimizer = build(net, lam=0.1, l1_share=0.3)
    optimizer.max_zero_groups = 4
    train(net, optimizer, images(2))
    counts = {state["step"].data_ptr() for state in optimizer.state.values()}

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, op, types, args=(), kwargs=None):
            if op is torch.ops.aten._local_scalar_dense.default:
                assert args[0].data_ptr() in counts
            return op(*args, **(kwargs or {}))

    with Watch():
        optimizer.step()
    with Watch(), pytest.raises(AssertionError):
        group_sparsity(groups(net, layers="*", reads=()))


def test_the_rms_of_the_gradient_is_reported_per_layer_over_live_groups():
    net = network(DOUBLE)
    optimizer = build(net)
    assert all(value.isnan() for value in optimizer.gradient_rms().values())
    with torch.no_grad():
        net[3].weight[:, :5] = 0.0
    optimizer.freeze_zeros()
    train(net, optimizer, images(1, DOUBLE))
    rms = net[3].weight.grad[:, 5:].movedim(1, 0).flatten(1).square().mean(1).sqrt()
    assert float(optimizer.gradient_rms()["3"]) == pytest.approx(float(rms.median()), rel=1e-5)


def test_a_layer_that_is_listed_twice_is_refused():
    net = network()
    twice = [*groups(net, layers="*", reads=()), *groups(net, layers="3", reads=())]
    with pytest.raises(UsageError, match="`3` is in `groups` twice"):
        ProximalAdamW(net.parameters(), groups=twice, lam=0.1)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"l1_share": 1.0}, "l1_share \\(=1.0\\) must be"),
        ({"lam": -1.0}, "lam \\(=-1.0\\)"),
        ({"lam": float("nan")}, "lam \\(=nan\\)"),
        ({"metric": "exact"}, "expected one of: corrected, reference"),
    ],
)
def test_wrong_settings_are_refused(settings, text):
    with pytest.raises(UsageError, match=text):
        build(network(), **settings)


def test_groups_of_another_network_are_refused():
    net = network()
    with pytest.raises(UsageError, match="does not hold the weight of `0`"):
        ProximalAdamW(net.parameters(), groups=groups(network(), layers="*", reads=()), lam=0.1)
    optimizer = build(net)
    with pytest.raises(UsageError):
        optimizer.lam = -0.1
    with pytest.raises(UsageError):
        optimizer.max_zero_groups = -1
