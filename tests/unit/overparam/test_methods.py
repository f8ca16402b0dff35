"""One contract for all methods: the function is kept, everything learns, contraction is exact."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import compactmtl.overparam as op
from compactmtl.errors import CorruptFileError, UsageError

TASKS = ("seg", "depth")
WEIGHT_ONLY = [name for name in op.METHODS if name != "repvgg"]


def network(size: int = 3, **options) -> nn.Sequential:
    """Return conv, norm and ReLU twice, in float64, with norms that have seen something."""
    layers = []
    for inn, out in ((4, 6), (6, 6)):
        conv = nn.Conv2d(inn, out, size, **({"padding": size // 2} | options))
        layers += [conv, nn.BatchNorm2d(out), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Conv2d(6, 5, 1)).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return net.eval()


def kernel_size(method: str) -> int:
    return 5 if method == "expandnet_ck" else 3


def picture() -> torch.Tensor:
    return torch.randn(2, 4, 9, 10, dtype=torch.float64)


def warmed(net: nn.Sequential) -> nn.Sequential:
    """Take one training step, so that no factor is at its start."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    net(picture()).square().mean().backward()
    optimizer.step()
    return net.eval()


@pytest.mark.parametrize("method", op.METHODS)
@settings(max_examples=12, deadline=None)
@given(
    stride=st.integers(1, 2), dilation=st.integers(1, 2), bias=st.booleans(), seed=st.integers(0, 9)
)
def test_expansion_keeps_the_function_borders_included(method, stride, dilation, bias, seed):
    torch.manual_seed(seed)
    size = kernel_size(method)
    dilation = 1 if size == 5 else dilation
    options = {"stride": stride, "dilation": dilation, "padding": dilation * (size // 2)}
    net, image = network(size, bias=bias, **options), picture()
    expected = net(image)
    report = op.expand(net, tasks=TASKS, method=method, layers="*")
    assert len(report.layers) >= 2
    torch.testing.assert_close(net(image), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", op.METHODS)
def test_contraction_computes_what_training_ended_with(method):
    net = network(kernel_size(method))
    names, image = list(net.state_dict()), picture()
    op.expand(net, tasks=TASKS, method=method, layers="*")
    expected = warmed(net)(image)
    state = op.contracted_state_dict(net)
    assert op.is_expanded(net)
    assert sorted(state) == sorted(names)
    torch.testing.assert_close(op.contract(net)(image), expected, rtol=0, atol=1e-12)
    assert not op.is_expanded(net)
    assert sorted(net.state_dict()) == sorted(names)
    fresh = network(kernel_size(method))
    fresh.load_state_dict(state)
    torch.testing.assert_close(fresh(image), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", op.METHODS)
def test_every_parameter_learns_within_two_steps(method):
    net = network(kernel_size(method))
    op.expand(net, tasks=TASKS, method=method, layers="*")
    warmed(net).train()  # a scale that starts at 0 lets its kernel learn from the second step on
    net.zero_grad()
    net(picture()).square().mean().backward()
    for name, parameter in net.named_parameters():
        before_a_norm = name.endswith("bias") and name.partition(".")[0] in "03"
        if not before_a_norm:  # batch norm takes a bias away
            assert parameter.grad.abs().max() > 1e-12, name


@pytest.mark.parametrize("method", op.METHODS)
def test_an_expansion_is_made_again_from_its_specification(method):
    net = network(kernel_size(method))
    dense, image = copy.deepcopy(net), picture()
    op.expand(net, tasks=TASKS, method=method, layers="*", init="direct")
    warmed(net)
    op.expand_like(dense, op.expansion_spec(net))
    assert dense(image).isnan().any()  # a forgotten load shows
    dense.load_state_dict(net.state_dict())
    torch.testing.assert_close(dense.eval()(image), net(image), rtol=0, atol=0)


@pytest.mark.parametrize("method", op.METHODS)
def test_a_specification_of_another_network_is_refused(method):
    net = network(kernel_size(method))
    op.expand(net, tasks=TASKS, method=method, layers="*")
    with pytest.raises(CorruptFileError):
        op.expand_like(nn.Sequential(nn.ReLU()), op.expansion_spec(net))


@pytest.mark.parametrize("method", [m for m in WEIGHT_ONLY if m not in ("doconv", "expandnet_ck")])
def test_linear_layers_are_expanded_too(method):
    layer = nn.Linear(7, 5).double()
    x = torch.randn(3, 7, dtype=torch.float64)
    expected = layer(x)
    net = nn.Sequential(layer)
    op.expand(net, tasks=TASKS, method=method, layers="*")
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(op.contract(net)(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", op.METHODS)
def test_grouped_convolutions_are_left_dense_and_listed_or_kept_exactly(method):
    net = nn.Sequential(
        nn.Conv2d(4, 4, kernel_size(method), padding=2, groups=2), nn.BatchNorm2d(4)
    )
    net = net.double().eval()
    image = picture()
    expected = net(image)
    if method == "repvgg":  # branches follow the groups
        op.expand(net, tasks=TASKS, method=method, layers="*")
        torch.testing.assert_close(net(image), expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(op.contract(net)(image), expected, rtol=0, atol=1e-12)
    else:
        with pytest.raises(UsageError, match="grouped"):
            op.expand(net, tasks=TASKS, method=method, layers="*")


@pytest.mark.parametrize("method", op.METHODS)
def test_direct_starts_as_the_authors_do(method):
    torch.manual_seed(0)
    net = network(kernel_size(method))
    expected = net(picture())
    op.expand(net, tasks=TASKS, method=method, layers="*", init="direct")
    changed = (net(picture()) - expected).abs().max() > 1e-3
    assert changed or method == "doconv"  # which has one way to start


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("doconv", {"ratio": 0.5}, "must be at least 1"),
        ("expandnet", {"ratio": 1.5}, "whole number"),
        ("repvgg", {"ratio": 2.0}, "takes no ratio"),
        ("repvgg", {"init": "zeros"}, "expected one of"),
        ("expandnet", {"init": "zeros"}, "expected one of"),
        ("expandnet_ck", {"layers": "6"}, "kernel of 1x1"),
    ],
)
def test_a_setting_out_of_range_leaves_the_network_as_it_was(method, settings, message):
    net = network(kernel_size(method))
    state = copy.deepcopy(net.state_dict())
    with pytest.raises(UsageError, match=message):
        op.expand(net, **{"tasks": TASKS, "method": method, "layers": "*"} | settings)
    assert not op.is_expanded(net)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_patterns_with_an_exclamation_mark_leave_layers_out():
    net = network()
    report = op.expand(net, tasks=TASKS, layers=("*", "!6"))
    assert set(report.layers) == {"0", "3"}
