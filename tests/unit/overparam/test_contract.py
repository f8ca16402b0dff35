import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import compactmtl.overparam as op
from compactmtl.errors import UsageError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1, bias=False),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip


def trained(net: nn.Module) -> nn.Module:
    """Move every parameter, so that no factor is where the initialisation left it."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
    return net


def expanded() -> nn.Module:
    net = network()
    op.expand(net, tasks=("a", "b"), layers="*", ratio=1.2)
    return trained(net)


def test_contract_equals_the_training_forward():
    net, image = expanded().eval(), torch.randn(2, 3, 8, 8)
    before = net(image)
    assert op.contract(net) is net
    torch.testing.assert_close(net(image), before, rtol=0, atol=1e-5)


def test_the_oracle_sees_a_forgotten_diagonal():
    net, image = expanded().eval(), torch.randn(2, 3, 8, 8)
    before = net(image)
    with torch.no_grad():
        net[0].parametrizations.weight[0].m_b.fill_(1)
    assert (op.contract(net)(image) - before).abs().max() > 1e-4


def test_contracted_kernels_are_the_float64_product_rounded_once():
    net = expanded()
    f = copy.deepcopy(net[0].parametrizations.weight[0]).double()
    matrix = f.U @ torch.diag(f.m_a) @ torch.diag(f.m_b) @ f.V
    exact = matrix.reshape(6, 3, 3, 3).transpose(1, 2)
    op.contract(net)
    assert net[0].weight.is_contiguous()
    torch.testing.assert_close(net[0].weight.data, exact.float(), rtol=2e-7, atol=0)


def test_keys_types_and_order_are_those_of_the_dense_network():
    dense, net = network(), expanded()
    expected = list(dense.state_dict())
    assert list(op.contracted_state_dict(net)) == expected
    op.contract(net)
    assert list(net.state_dict()) == expected
    assert [type(m) for m in net.modules()] == [type(m) for m in dense.modules()]
    assert [n for n, _ in net.named_parameters()] == [n for n, _ in dense.named_parameters()]
    dense.load_state_dict(net.state_dict())


def test_contracted_state_dict_leaves_the_network_alone_and_equals_contract():
    net = expanded()
    state = op.contracted_state_dict(net)
    assert op.is_expanded(net)
    op.contract(net)
    for key, value in net.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=0)


@pytest.mark.parametrize("copy_first", [True, False])
def test_a_copy_and_its_original_are_contracted_independently(copy_first):
    net, image = expanded().eval(), torch.randn(2, 3, 8, 8)
    before, twin = net(image), copy.deepcopy(net)
    one, other = (twin, net) if copy_first else (net, twin)
    op.contract(one)
    torch.testing.assert_close(other(image), before, rtol=0, atol=0)
    assert op.is_expanded(other)
    op.contract(other)
    torch.testing.assert_close(other(image), one(image), rtol=0, atol=0)


def test_torchs_own_removal_would_break_the_copy():
    net, image = expanded(), torch.randn(2, 3, 8, 8)
    parametrize.remove_parametrizations(copy.deepcopy(net)[0], "weight")
    with pytest.raises(AttributeError):
        net(image)


def test_a_parametrisation_of_the_users_own_survives():
    class Double(nn.Module):
        def forward(self, x):
            return 2 * x

    net = expanded()
    parametrize.register_parametrization(net[0], "bias", Double())
    twin, bias = copy.deepcopy(net), net[0].bias.detach()
    op.contract(net)
    torch.testing.assert_close(net[0].bias, bias, rtol=0, atol=0)
    assert list(net[0]._parameters) == ["weight"]
    assert op.is_expanded(twin)


def test_a_plain_network_is_returned_as_it_is():
    net = network()
    assert op.contract(net) is net
    assert list(op.contracted_state_dict(net)) == list(net.state_dict())


def test_contracting_inside_a_step_is_refused():
    net = expanded()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(UsageError, match="inside"), op.training_step(net, optimizer):
        op.contract(net)
    assert op.is_expanded(net)


def test_a_bare_layer_can_be_the_network():
    layer, x = nn.Linear(3, 2), torch.randn(4, 3)
    before, keys = layer(x), list(layer.state_dict())
    op.expand(layer, tasks=("a",), layers="*")
    assert list(op.contracted_state_dict(layer)) == keys
    torch.testing.assert_close(op.contract(layer)(x), before, rtol=0, atol=1e-5)
