"""Networks of other people's design: every op has a rule, and dead channels really go."""

import warnings

import pytest
import torch
from torch import nn
from torchvision import models
from zero_groups import zero_random_groups

from compactmtl.compiler import compress

SMALL = {  # network: share of its parameters that may be left with half of the groups zero
    "mobilenet_v2": 0.45,
    "mobilenet_v3_small": 0.5,
    "shufflenet_v2_x0_5": 0.5,
    "regnet_y_400mf": 0.5,
}
LARGE = {"resnext50_32x4d": 0.45, "regnet_x_800mf": 0.5, "mnasnet1_0": 0.5, "efficientnet_b0": 0.6}


def check(network: nn.Module, most_left: float) -> None:
    """Compile, compare and count."""
    network = zero_random_groups(network, seed=0)
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    compact = compress(network, image, dynamic=False)
    assert compact.report.opaque == []
    assert compact.report.max_rel_error < 1e-5
    assert compact.report.after.num_params < most_left * compact.report.before.num_params
    assert compact.report.after.macs < 0.6 * compact.report.before.macs
    expected = network(image)
    scale = expected.abs().max().item()
    torch.testing.assert_close(compact.module(image), expected, rtol=1e-3, atol=1e-5 * scale)


def make(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torchvision on its own initialisation
        return getattr(models, name)(weights=None, **options)


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_compile_exactly(name: str) -> None:
    check(make(name), SMALL[name])


def test_a_narrow_resnext_compiles_exactly() -> None:
    torch.manual_seed(0)
    block = models.resnet.Bottleneck
    check(models.ResNet(block, [1, 1, 1, 1], groups=8, width_per_group=4, num_classes=10), 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_networks_compile_exactly(name: str) -> None:
    check(make(name), LARGE[name])
