"""Grouped convolutions: left dense, or each group factored as if it were a convolution."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import compactmtl.overparam as op
from compactmtl.errors import UsageError
from compactmtl.overparam.kernel import expanded_layers

TASKS = ("seg", "depth")
BY_GROUP = ("umv", "mshare", "uvshare", "fnl")


def grouped(groups: int, inn: int, out: int, **options) -> nn.Sequential:
    conv = nn.Conv2d(groups * inn, groups * out, 3, groups=groups, **options)
    return nn.Sequential(conv).double()


def picture(net: nn.Sequential) -> torch.Tensor:
    return torch.randn(2, net[0].in_channels, 6, 7, dtype=torch.float64)


@pytest.mark.parametrize("method", BY_GROUP)
@settings(max_examples=12, deadline=None)
@given(
    groups=st.integers(2, 4),
    inn=st.integers(2, 3),
    out=st.integers(1, 3),
    ratio=st.sampled_from([1.0, 1.5]),
    seed=st.integers(0, 9),
)
def test_each_group_is_a_convolution_of_its_own(method, groups, inn, out, ratio, seed):
    torch.manual_seed(seed)
    net = grouped(groups, inn, out, padding=1)
    image, kernels = picture(net), net[0].weight.detach().chunk(groups)
    expected = net(image)
    report = op.expand(net, tasks=TASKS, method=method, layers="*", ratio=ratio, grouped="by_group")
    assert report.layers["0"]["groups"] == groups
    torch.testing.assert_close(net(image), expected, rtol=0, atol=1e-12)

    own = nn.Conv2d(inn, out, 3)
    own.weight.data = kernels[0].float()
    single = op.expand(nn.Sequential(own), tasks=TASKS, method=method, layers="*", ratio=ratio)
    assert report.layers["0"]["rank"] == single.layers["0"]["rank"]

    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(2):  # padding of V learns from the second step on
        net.zero_grad()
        net(image).square().mean().backward()
        optimizer.step()
    for parameter in net.parameters():
        assert parameter.grad.abs().max() > 0
    trained = net(image)
    again = grouped(groups, inn, out, padding=1)
    op.expand_like(again, op.expansion_spec(net))
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again(image), trained, rtol=0, atol=0)
    torch.testing.assert_close(op.contract(net)(image), trained, rtol=0, atol=1e-12)
    assert net[0].groups == groups


def test_a_group_gets_no_gradient_from_the_others():
    net = grouped(3, 2, 2)
    op.expand(net, tasks=TASKS, layers="*", grouped="by_group")
    net(picture(net))[:, :2].sum().backward()  # the outputs of the first group
    ((_, _, factors),) = expanded_layers(net)
    for name, parameter in factors.named_parameters():
        assert parameter.shape[0] == 3, name
        assert parameter.grad[0].abs().max() > 0
        assert parameter.grad[1:].abs().max() == 0


def test_steps_train_a_grouped_layer_as_autograd_does():
    net = grouped(2, 3, 4)
    op.expand(net, tasks=TASKS, layers="*", grouped="by_group")
    plain, image = copy.deepcopy(net), picture(net)
    optimizer = torch.optim.SGD(op.param_groups(net, 0.1))
    with op.training_step(net, optimizer, frobenius=0.1):
        net(image).square().mean().backward()
    (plain(image).square().mean() + op.frobenius(plain, 0.1)).backward()
    for one, other in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)
    with op.task_step(net, "seg"):
        net(image).square().mean().backward()
    assert op.task_parameters(net, "seg")[0].grad.abs().max() > 0


@pytest.mark.parametrize("method", ["umv", "doconv", "expandnet"])
def test_by_default_they_stay_and_are_listed(method):
    net = nn.Sequential(*grouped(2, 3, 4), nn.Conv2d(8, 4, 3)).double()
    report = op.expand(net, tasks=TASKS, method=method, layers="*")
    assert report.left_dense == {"0": "grouped convolution (groups=2)"}
    assert list(report.layers) == ["1"]


@pytest.mark.parametrize(
    ("layer", "method", "why"),
    [
        (nn.Conv2d(4, 8, 3, groups=4), "umv", r"depthwise convolution \(groups=4\)"),
        (nn.Conv2d(4, 2, 1, groups=2), "mshare", "rank 1 has no block for each of 2 tasks"),
        (nn.Conv2d(4, 4, 3, groups=2), "doconv", r"grouped convolution \(groups=2\)"),
    ],
)
def test_what_has_no_factors_by_group_stays_and_is_listed(layer, method, why):
    with pytest.raises(UsageError, match=f"fits none of the layers.*`0`: {why}"):
        op.expand(nn.Sequential(layer), tasks=TASKS, method=method, layers="*", grouped="by_group")


def test_an_unknown_word_is_refused_and_equal_reasons_are_said_once():
    convs = nn.Sequential(*(nn.Conv2d(4, 4, 3) for _ in range(3)))
    with pytest.raises(UsageError, match="grouped is `each`, expected one of: dense, by_group"):
        op.expand(convs, tasks=TASKS, layers="*", grouped="each")
    with pytest.raises(UsageError, match="`0` and 2 more: kernel of 3x3, not square and odd"):
        op.expand(convs, tasks=TASKS, layers="*", method="expandnet_ck")


@pytest.mark.parametrize("method", op.METHODS)
def test_an_unknown_init_is_refused_by_every_method(method):
    net = nn.Sequential(nn.Conv2d(4, 4, 5, padding=2), nn.BatchNorm2d(4))
    with pytest.raises(UsageError, match="init is `best`, expected one of: spectral, direct"):
        op.expand(net, tasks=TASKS, method=method, layers="*", init="best")
