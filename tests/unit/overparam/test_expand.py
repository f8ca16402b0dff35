import copy
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

import compactmtl.overparam as op
from compactmtl.errors import CorruptFileError, PatternError, RefusedError, UsageError
from compactmtl.overparam.spectral import kernel_matrix, kernel_of_matrix

TASKS = ("seg", "depth", "normals")


def expanded(layer: nn.Module, **settings) -> nn.Module:
    net = nn.Sequential(layer)
    op.expand(net, tasks=TASKS, layers="*", **settings)
    return net


convs = st.fixed_dictionaries(
    {
        "in_channels": st.integers(1, 7),
        "out_channels": st.integers(1, 7),
        "kernel_size": st.sampled_from([(1, 1), (3, 3), (5, 3), (1, 4)]),
        "stride": st.integers(1, 2),
        "dilation": st.integers(1, 2),
        "padding": st.integers(0, 2),
        "bias": st.booleans(),
    }
)


@settings(max_examples=40, deadline=None)
@given(options=convs, ratio=st.sampled_from([1.0, 1.3, 2.0]), seed=st.integers(0, 99))
def test_expansion_of_a_conv_preserves_the_function(options, ratio, seed):
    torch.manual_seed(seed)
    layer = nn.Conv2d(**options, dtype=torch.float64)
    image = torch.randn(2, options["in_channels"], 11, 10, dtype=torch.float64)
    before = layer(image)
    net = expanded(layer, ratio=ratio)
    torch.testing.assert_close(net(image), before, rtol=0, atol=1e-13)


@settings(max_examples=15, deadline=None)
@given(inn=st.integers(1, 9), out=st.integers(1, 9), ratio=st.sampled_from([1.0, 1.7]))
def test_expansion_of_a_linear_preserves_the_function(inn, out, ratio):
    layer = nn.Linear(inn, out)
    x = torch.randn(3, inn)
    before = layer(x)
    torch.testing.assert_close(expanded(layer, ratio=ratio)(x), before, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("inn", "out"), [(4, 40), (40, 4)])
def test_expansion_of_a_pretrained_like_kernel_preserves_the_function(inn, out):
    # decaying spectrum, far from i.i.d.: a reshape without the permute fails here
    layer = nn.Conv2d(inn, out, 3)
    with torch.no_grad():
        layer.weight.mul_(torch.logspace(0, -3, 9).reshape(3, 3))
    image = torch.randn(2, inn, 8, 8)
    before = layer(image)
    torch.testing.assert_close(expanded(layer)(image), before, rtol=0, atol=1e-5)


def test_the_oracle_sees_a_reshape_without_the_permute():
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    wrong = weight.reshape(4 * 3, 3 * 3)
    assert (kernel_of_matrix(wrong, (4, 3, 3, 3)) - weight).norm() > 0.5 * weight.norm()
    torch.testing.assert_close(kernel_of_matrix(kernel_matrix(weight), (4, 3, 3, 3)), weight)


def test_one_entry_of_the_kernel_matrix_is_where_the_paper_has_it():
    weight = torch.arange(2 * 3 * 5 * 3).reshape(2, 3, 5, 3)
    assert kernel_matrix(weight)[1 * 5 + 4, 2 * 3 + 1] == weight[1, 2, 4, 1]


@pytest.mark.parametrize(("ratio", "rank"), [(1.0, 10), (1.1, 11), (1.11, 12), (3.0, 30)])
def test_rank_is_the_ratio_of_full_rank_rounded_up(ratio, rank):
    net = expanded(nn.Linear(10, 17), ratio=ratio)
    assert op.expansion_spec(net)["layers"]["0"] == {"rank": rank}


def test_above_full_rank_every_parameter_has_a_gradient_after_one_step():
    torch.manual_seed(0)
    net = expanded(nn.Conv2d(3, 4, 3), ratio=1.5)
    factors = net[0].parametrizations.weight[0]
    image, optimizer = torch.randn(2, 3, 6, 6), torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        net(image).square().sum().backward()
        optimizer.step()
    assert all((parameter.grad != 0).all() for parameter in factors.parameters())


def test_zeros_on_both_sides_would_never_learn():
    net = expanded(nn.Conv2d(3, 4, 3), ratio=1.5)
    factors = net[0].parametrizations.weight[0]
    with torch.no_grad():
        factors.V[9:] = 0
    net(torch.randn(2, 3, 6, 6)).square().sum().backward()
    assert (factors.U.grad[:, 9:] == 0).all()
    assert (factors.V.grad[9:] == 0).all()


def test_factors_have_the_papers_shapes_and_readable_keys():
    net = expanded(nn.Conv2d(3, 8, (5, 3)))
    prefix = "0.parametrizations.weight.0."
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert shapes == {
        "0.bias": (8,),
        f"{prefix}U": (40, 9),
        f"{prefix}V": (9, 9),
        f"{prefix}m_seg": (9,),
        f"{prefix}m_depth": (9,),
        f"{prefix}m_normals": (9,),
    }
    assert all((net.state_dict()[f"{prefix}m_{task}"] == 1).all() for task in TASKS)


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2.0)])
def test_direct_init_draws_the_factors_as_the_kernel_was_drawn(gain):
    # research: std(UV) / std(W) is 1.7 for Xavier and 2.4 for Kaiming on a square 3x3 kernel
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 64, 3)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(64 * 9))
    before = layer.weight.std().item()
    net = expanded(layer, init="direct")
    assert net[0].weight.std().item() / before == pytest.approx(math.sqrt(3) * gain, rel=0.05)


def test_a_frozen_kernel_stays_frozen():
    layer = nn.Conv2d(3, 4, 3)
    layer.weight.requires_grad_(False)
    net = expanded(layer)
    assert not any(p.requires_grad for p in net[0].parametrizations.parameters())
    assert not op.contract(net)[0].weight.requires_grad


def test_grouped_and_tied_layers_are_left_dense_and_listed():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    net = nn.ModuleDict({"conv": nn.Conv2d(4, 4, 3), "dw": nn.Conv2d(4, 4, 3, groups=2)})
    net.update({"a": first, "b": second, "norm": weight_norm(nn.Linear(2, 2))})
    report = op.expand(net, tasks=TASKS, layers="*")
    assert list(report.layers) == ["conv"]
    assert report.left_dense == {
        "dw": "grouped convolution (groups=2)",
        "a": "shares its weight with `b`",
        "b": "shares its weight with `a`",
        "norm": "its weight has a parametrisation already",
    }
    assert report.num_params_after - report.num_params_before == 12 * 12 * 2 + 3 * 12 - 144
    json.dumps(report.to_dict())


def test_a_layer_used_twice_is_expanded_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)
            self.again = self.conv

        def forward(self, x):
            return self.again(self.conv(x).relu())

    net, image = Twice(), torch.randn(1, 4, 5, 5)
    before, keys = net(image), list(net.state_dict())
    assert list(op.expand(net, tasks=TASKS, layers="*").layers) == ["conv"]
    torch.testing.assert_close(net(image), before, rtol=0, atol=1e-5)
    assert list(op.contracted_state_dict(net)) == keys
    assert list(op.contract(net).state_dict()) == keys


def test_expanding_twice_is_refused():
    net = expanded(nn.Linear(3, 3))
    with pytest.raises(UsageError, match="expanded already"):
        op.expand(net, tasks=TASKS, layers="*")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"tasks": "seg"}, "expected a sequence of task names"),
        ({"tasks": ()}, "expected a sequence of task names"),
        ({"tasks": ("a", "a")}, "named twice"),
        ({"tasks": ("a.b",)}, "without dots"),
        ({"ratio": 0.5}, "must be at least 1"),
        ({"ratio": math.nan}, "must be at least 1"),
        ({"init": "xavier"}, "expected one of: spectral, direct"),
        ({"method": "unv"}, "did you mean `umv`"),
        ({"layers": "x.*"}, "matches no"),
        ({"layers": None}, "has no `encoder_layers`"),
    ],
)
def test_a_wrong_call_says_so_and_leaves_the_network_alone(settings, text):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    keys = list(net.state_dict())
    with pytest.raises(UsageError, match=text):
        op.expand(net, **{"tasks": TASKS, "layers": "*", **settings})
    assert list(net.state_dict()) == keys


def test_nothing_left_to_expand_is_an_error():
    with pytest.raises(UsageError, match="grouped"):
        expanded(nn.Conv2d(4, 4, 3, groups=4))
    with pytest.raises(PatternError):
        op.expand(nn.Sequential(nn.ReLU()), tasks=TASKS, layers="*")


def test_expand_like_re_creates_the_expansion_and_shows_a_forgotten_load():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1, bias=False))
    twin, image = copy.deepcopy(net), torch.randn(2, 3, 5, 5)
    op.expand(net, tasks=TASKS, layers="*", ratio=1.5)
    spec = json.loads(json.dumps(op.expansion_spec(net)))
    op.expand_like(twin, spec)
    assert twin(image).isnan().all()
    twin.load_state_dict(net.state_dict())
    torch.testing.assert_close(twin.eval()(image), net.eval()(image), rtol=0, atol=0)
    assert op.expansion_spec(twin) == spec


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"method": "package.module:Evil"}, RefusedError),
        ({"layers": {"9": {"rank": 3}}}, CorruptFileError),
        ({"layers": {"0": {}}}, CorruptFileError),
        ({"layers": 3}, CorruptFileError),
        ({"tasks": "seg"}, CorruptFileError),
    ],
)
def test_a_specification_that_does_not_fit_is_refused(change, error):
    spec = {"method": "umv", "tasks": ["seg"], "layers": {"0": {"rank": 3}}} | change
    net = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(error):
        op.expand_like(net, spec)
    assert not op.is_expanded(net)


def test_assigning_a_kernel_factors_it():
    net, kernel = expanded(nn.Linear(5, 4)), torch.randn(4, 5)
    net[0].weight = kernel
    torch.testing.assert_close(net[0].weight, kernel, rtol=0, atol=1e-5)


def test_a_kernel_is_contracted_in_float32_under_autocast():
    net, image = expanded(nn.Linear(32, 32)), torch.randn(4, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kernel = net[0].weight
        assert net(image).dtype == torch.bfloat16
    assert kernel.dtype == torch.float32
    torch.testing.assert_close(kernel, net[0].weight, rtol=0, atol=0)


def test_parametrize_calls_the_layer_parametrised():
    net = expanded(nn.Linear(3, 3))
    assert parametrize.is_parametrized(net[0], "weight")
    assert op.is_expanded(net)
    assert not op.is_expanded(nn.Linear(3, 3))
