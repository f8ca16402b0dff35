"""Small networks of several families, with the zero groups that sparse training leaves behind."""

import warnings
from collections.abc import Callable
from functools import cache

import torch
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.resnet import Bottleneck, ResNet
from zero_groups import zero_random_groups

from compactmtl.compact import CompactModel
from compactmtl.compiler import compress
from compactmtl.models.build import build

TASKS = {"seg": 5, "depth": 1}


def _mobilenet() -> nn.Module:
    def block(i: int, k: int, e: int, o: int, s: int) -> InvertedResidualConfig:
        return InvertedResidualConfig(i, k, e, o, True, "HS", s, 1, 1.0)

    return MobileNetV3([block(16, 3, 32, 16, 1), block(16, 5, 48, 24, 2)], 32, num_classes=5)


SMALL: dict[str, Callable[[], nn.Module]] = {
    "segnet": lambda: build("segnet", TASKS, {"widths": [8, 12, 16]}),
    "mobilenet_v3": _mobilenet,
    "shufflenet": lambda: models.ShuffleNetV2([2, 2, 1], [8, 16, 32, 32, 24], num_classes=5),
    "resnext": lambda: ResNet(Bottleneck, [1, 1, 1, 1], groups=8, width_per_group=4, num_classes=5),
    "convnext": lambda: ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)], 0.1,
                                 num_classes=5),
    "densenet": lambda: models.DenseNet(8, (2, 2), 16, num_classes=5, drop_rate=0.1),
}  # fmt: skip
LARGE: dict[str, Callable[[], nn.Module]] = {
    "deeplab": lambda: build("deeplab_resnet18", TASKS, {"width": 0.125, "head_channels": 16}),
    "deeplab_resnet18": lambda: build("deeplab_resnet18", TASKS, {}),
    "mobilenet_v3_small": lambda: models.mobilenet_v3_small(num_classes=7),
    "googlenet": lambda: models.googlenet(num_classes=5, init_weights=False),
}
FAMILIES = SMALL | LARGE


def build_family(name: str, *, seed: int = 0, zeros: float = 0.5) -> nn.Module:
    """Return a network of this family in eval mode, its weights and zero groups seeded."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torchvision on its own initialisation
        return zero_random_groups(FAMILIES[name](), seed=seed, zeros=zeros)


@cache
def compiled(name: str) -> CompactModel:
    """Return the compact model of ``build_family(name)``, the same object every time: copy it."""
    return compress(build_family(name), image(), dynamic=False, objective="macs")


def image(batch: int = 2) -> torch.Tensor:
    """Return a seeded image of a size that all families take."""
    return torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))
