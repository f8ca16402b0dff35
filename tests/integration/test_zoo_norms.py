"""Networks of torchvision with random zero groups: exact, smaller, and nothing opaque."""

from collections.abc import Callable

import pytest
import torch
from random_nets import randomise
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from compactmtl.compiler import compress


def small_vgg() -> nn.Module:
    """A VGG-11 whose classifier reads 2x2 positions: 25088 features are too many for a test."""
    net = models.vgg11_bn(num_classes=5, init_weights=False)
    net.avgpool = nn.AdaptiveAvgPool2d(2)
    net.classifier = nn.Sequential(
        nn.Linear(2048, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 5)
    )
    return net


def narrow_convnext() -> nn.Module:
    return ConvNeXt(
        [CNBlockConfig(24, 32, 2), CNBlockConfig(32, 48, 2), CNBlockConfig(48, None, 1)],
        num_classes=5, layer_scale=1.0,
    )  # fmt: skip


ZOO: dict[str, Callable[[], nn.Module]] = {
    "convnext": narrow_convnext,
    "efficientnet_b0": lambda: models.efficientnet_b0(num_classes=5),
    "vgg11_bn": small_vgg,
    "squeezenet1_1": lambda: models.squeezenet1_1(num_classes=5),
    "densenet": lambda: models.DenseNet(8, (3, 3, 3), 16, num_classes=5),
}
SLOW: dict[str, Callable[[], nn.Module]] = {
    "convnext_tiny": lambda: models.convnext_tiny(num_classes=5),
    "densenet121": lambda: models.densenet121(num_classes=5),
    "vgg16": lambda: models.vgg16(num_classes=5, init_weights=False),
}


def check(factory: Callable[[], nn.Module], *, dynamic: bool) -> None:
    torch.manual_seed(0)
    net = randomise(factory(), 1)
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    compact = compress(net, image, dynamic=dynamic)
    assert compact.report.opaque == []
    assert compact.report.after.num_params < 0.8 * compact.report.before.num_params
    with torch.no_grad():
        expected, got = net(image), compact.module(image)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_compiles_exactly(name: str) -> None:
    check(ZOO[name], dynamic=name == "convnext")


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_the_larger_zoo_compiles_exactly(name: str) -> None:
    check(SLOW[name], dynamic=name != "vgg16")
