import copy

import pytest
import torch
from torch import nn

import compactmtl.overparam as op
from compactmtl.errors import UsageError, VerificationError
from compactmtl.models.build import build
from compactmtl.overparam.branched import find_norm
from compactmtl.overparam.repvgg import RepVgg


def pair(**options) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, **options), nn.BatchNorm2d(4))


def test_branches_are_those_of_the_paper():
    net = pair(bias=False)
    op.expand(net, tasks=("a",), method="repvgg", layers="*", init="direct")
    branches, image = net[0], torch.randn(2, 4, 5, 5)
    branches.train()
    expected = branches.dense_norm(branches.dense(image))
    expected = expected + branches.point_norm(branches.point(image)) + branches.identity_norm(image)
    torch.testing.assert_close(net(image), expected)
    assert all(norm.weight.eq(1).all() for norm in (branches.point_norm, branches.identity_norm))


@pytest.mark.parametrize(("stride", "out"), [(2, 4), (1, 6)])
def test_there_is_an_identity_only_where_the_shape_stays(stride, out):
    net = nn.Sequential(nn.Conv2d(4, out, 3, padding=1, stride=stride), nn.BatchNorm2d(out))
    op.expand(net, tasks=("a",), method="repvgg", layers="*")
    assert net[0].identity_norm is None


def test_folding_is_refused_in_train_mode():
    net = pair()
    op.expand(net, tasks=("a",), method="repvgg", layers="*")
    net.train()
    for fold in (op.contract, op.contracted_state_dict):
        with pytest.raises(UsageError, match="train mode") as caught:
            fold(net)
        assert caught.value.hint == "call model.eval() first"
    assert op.is_expanded(net)


def test_a_wrong_fold_is_found(monkeypatch):
    net = pair().eval()
    op.expand(net, tasks=("a",), method="repvgg", layers="*", init="direct")
    right = RepVgg.folded

    def wrong(self, dtype):
        kernel, bias = right(self, dtype)
        return kernel.roll(1, dims=3), bias  # one place aside: right inside, wrong at the border

    monkeypatch.setattr(RepVgg, "folded", wrong)
    with pytest.raises(VerificationError, match="differs from its branches"):
        op.contract(net)


@pytest.mark.parametrize(
    ("conv", "why"),
    [
        (nn.Conv2d(4, 4, 1), "kernel of 1x1"),
        (nn.Conv2d(4, 4, 2), "no centre"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "reflect"),
        (nn.Conv2d(4, 4, 3), "a 1x1 cannot follow it"),
        (nn.Conv2d(4, 4, 3, padding="same"), "a 1x1 cannot follow it"),
    ],
)
def test_what_has_no_branches_stays_and_says_why(conv, why):
    net = nn.Sequential(conv, nn.BatchNorm2d(4))
    with pytest.raises(UsageError, match=why):
        op.expand(net, tasks=("a",), method="repvgg", layers="*")


class Forked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def test_a_convolution_that_something_else_reads_stays():
    assert "not read by one batch norm alone" in str(find_norm(Forked(), "conv"))


def test_a_batch_norm_that_stands_twice_stays():
    norm = nn.BatchNorm2d(4)
    net = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), norm, nn.Conv2d(4, 4, 3, padding=1), norm)
    found = find_norm(net, "0")
    assert isinstance(found, str)
    assert "shared" in found


@pytest.mark.parametrize("name", ["segnet_s", "deeplab_resnet18"])
def test_networks_of_ours_are_expanded_and_folded(name):
    args = {"widths": (8, 8)} if name == "segnet_s" else {"width": 0.125, "head_channels": 8}
    net = build(name, {"seg": 5, "depth": 1}, args).double().eval()
    image = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    expected = net(image)
    report = op.expand(net, tasks=("seg", "depth"), method="repvgg")
    assert len(report.layers) >= 4
    assert all("1x1" in why for why in report.left_dense.values()), report.left_dense
    again = op.contract(copy.deepcopy(net))
    for task, value in expected.items():
        torch.testing.assert_close(net(image)[task], value, rtol=0, atol=1e-10)
        torch.testing.assert_close(again(image)[task], value, rtol=0, atol=1e-10)
