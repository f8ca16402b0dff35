"""Channel groups of a kernel W = (U * m) V: zeros through V, and nothing depends on the factors."""

import copy

import pytest
import torch
from torch import Tensor, nn

import compactmtl as cm
from compactmtl.errors import UsageError
from compactmtl.overparam import contract, expand, frobenius, param_groups, training_step
from compactmtl.sparsity import ProximalAdamW, census, group_sparsity, groups
from compactmtl.sparsity.metric import kernel_square
from compactmtl.sparsity.shrink import Stepped, shrink

DOUBLE = torch.float64


class Net(nn.Module):
    encoder_layers = ("encoder.*",)
    head_reads = ("heads.*",)

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU()]
        layers += [nn.Conv2d(12, 10, 3, padding=1), nn.BatchNorm2d(10), nn.ReLU()]
        self.encoder = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({"a": nn.Conv2d(10, 2, 1), "b": nn.Conv2d(10, 1, 1)})

    def forward(self, image):
        features = self.encoder(image)
        return {name: head(features) for name, head in self.heads.items()}


def network(method: str = "umv", dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    net = Net().to(dtype)
    expand(net, tasks=("a", "b"), method=method)
    return net


def loss_of(net: nn.Module, image: Tensor) -> Tensor:
    outputs = net(image)
    smooth = nn.functional.avg_pool2d(image, 3, 1, 1)
    return (outputs["a"] - smooth[:, :2]).square().mean() + (
        outputs["b"] - smooth.sum(1, keepdim=True).relu()
    ).square().mean()


def images(count: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randn(count, 4, 3, 9, 9, dtype=dtype, generator=generator))


def rescale(net: nn.Module, factor: float) -> nn.Module:
    """Return a copy of equal kernels: U times a factor, V divided by it; gradients likewise."""
    other = copy.deepcopy(net)
    for old, group in zip(groups(net, reads=()), groups(other, reads=()), strict=True):
        U, V = group.factors.get_parameter("U"), group.factors.get_parameter("V")
        with torch.no_grad():
            U *= factor
            V /= factor
        V.grad = old.parameter.grad * factor
    return other


def kernels(net: nn.Module) -> list[Tensor]:
    return [group.factors.output_factor() @ group.parameter for group in groups(net, reads=())]


@pytest.mark.parametrize("factor", [1e-3, 0.5, 40.0])
def test_the_step_depends_on_the_kernel_alone(factor):
    net = network(dtype=DOUBLE)
    loss_of(net, images(1, DOUBLE)[0]).backward()
    other = rescale(net, factor)
    pulls = [
        g.norms() * kernel_square(g).squeeze(1).sqrt() / g.scale for g in groups(net, reads=())
    ]
    step = torch.cat(pulls).median().item()
    for each in (net, other):
        found = groups(each, reads=())
        square = {g.name: kernel_square(g) for g in found}
        shrink(
            [
                Stepped(g, lambda _, g=g, square=square: square[g.name].sqrt() + 1e-8, step)
                for g in found
            ],
            None,
        )
    assert 0 < group_sparsity(groups(net, reads=())) < 1
    for one, two in zip(kernels(net), kernels(other), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-14)


def test_adams_own_metric_of_v_would_depend_on_the_factors():
    net = network(dtype=DOUBLE)
    loss_of(net, images(1, DOUBLE)[0]).backward()
    one, two = (
        (g.parameter.grad.abs() * g.parameter.detach().square()).sum()  # along the ray of V
        for g in (groups(net, reads=())[0], groups(rescale(net, 40.0), reads=())[0])
    )
    assert float(two / one) == pytest.approx(1 / 40, rel=1e-6)


def test_a_step_is_the_exact_operator_on_the_kernel_in_a_scalar_metric():
    net = network(dtype=DOUBLE)
    (group, _) = groups(net, reads=())
    kernel = net.encoder[0].weight.detach().clone()
    metric = 0.3 + torch.rand(3, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    shrink([Stepped(group, lambda part: metric[part], step=0.02)], None)
    after = net.encoder[0].weight.detach()
    for c in range(3):
        mu = 0.02 * (12 * 9) ** 0.5
        factor = max(0.0, 1 - mu / float(metric[c] * kernel[:, c].norm()))
        torch.testing.assert_close(after[:, c], factor * kernel[:, c], rtol=1e-9, atol=1e-14)


def test_the_metric_is_the_kernels_gradient_where_the_left_factor_is_orthonormal():
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(5, 6, 1, bias=False)).double()
    expand(net, tasks=("a",), layers="*", ratio=2.0)
    (group,) = groups(net, layers="*", reads=())
    U = group.factors.get_parameter("U")
    rows, rank = U.shape
    basis = torch.linalg.qr(torch.randn(rank, rows, dtype=DOUBLE))[0].T
    with torch.no_grad():
        U.copy_(basis)
    wanted = torch.randn(6, 5, 1, 1, dtype=DOUBLE)
    (net[0].weight * wanted).sum().backward()
    expected = wanted.flatten(2).square().mean(dim=(0, 2)).unsqueeze(1)
    torch.testing.assert_close(kernel_square(group), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("method", ["umv", "mshare", "fnl"])
@pytest.mark.parametrize("one_contraction", [True, False])
def test_an_expanded_network_trains_sparse_and_contracts_with_the_same_zeros(
    method, one_contraction
):
    net = network(method)
    found = groups(net)
    optimizer = ProximalAdamW(param_groups(net, 1e-2), groups=found, lam=0.05, lr=1e-2)
    optimizer.max_zero_groups = 16
    first = loss_of(net, images(1)[0]).item()
    for step, image in enumerate(images(60)):
        if step == 40:
            optimizer.lam = 0.0
            optimizer.freeze_zeros()
            before = [group.is_zero() for group in found]
        optimizer.zero_grad()
        if one_contraction:
            with training_step(net, optimizer, frobenius=1e-4):
                loss_of(net, image).backward()
        else:
            (loss_of(net, image) + frobenius(net, 1e-4)).backward()
        optimizer.step()
    assert 3 <= sum(int(mask.sum()) for mask in before) <= 16
    for group, mask in zip(found, before, strict=True):
        assert torch.equal(group.is_zero(), mask)
    counts = census(net, found)
    contract(net)
    plain = groups(net)
    assert census(net, plain).zero_groups == counts.zero_groups
    assert [g.is_zero().tolist() for g in plain] == [m.tolist() for m in before]
    assert loss_of(net, images(1)[0]).item() < first


def test_the_moving_average_survives_a_file_and_goes_on(tmp_path):
    def made() -> tuple[nn.Module, ProximalAdamW]:
        net = network()
        return net, ProximalAdamW(param_groups(net, 1e-2), groups=groups(net), lam=0.05, lr=1e-2)

    def train(net, optimizer, batches) -> None:
        for image in batches:
            optimizer.zero_grad()
            loss_of(net, image).backward()
            optimizer.step()

    net, optimizer = made()
    train(net, optimizer, images(10))
    torch.save([net.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    again, resumed = made()
    again.load_state_dict(weights)
    resumed.load_state_dict(state)
    for one, two in ((net, optimizer), (again, resumed)):
        train(one, two, images(20)[10:])
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_single_weights_of_a_factored_kernel_cannot_be_penalised():
    net = network()
    with pytest.raises(UsageError, match=r"`encoder\.0` is expanded"):
        ProximalAdamW(net.parameters(), groups=groups(net), lam=0.1, l1_share=0.5)


def test_overparameterised_and_sparse_then_contracted_then_compressed():
    net = network()
    found = groups(net)
    optimizer = ProximalAdamW(param_groups(net, 1e-2), groups=found, lam=0.1, lr=1e-2)
    optimizer.max_zero_groups = 20
    for image in images(60):
        optimizer.zero_grad()
        with training_step(net, optimizer):
            loss_of(net, image).backward()
        optimizer.step()
    assert group_sparsity(found) > 0.3
    compact = cm.compress(net.eval(), torch.rand(2, 3, 9, 9))
    assert compact.report.after.macs < 0.9 * compact.report.before.macs
    assert compact.report.max_rel_error < 1e-4
    channels = {name: m for name, m in compact.module.named_parameters() if m.dim() == 4}
    assert channels["encoder.0.weight"].shape[0] < 12
