"""Eight families of convolutional networks, dense, under heads; torchvision's where it has them."""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import DenseNet, MobileNetV2, ResNet, ShuffleNetV2
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.resnet import Bottleneck
from torchvision.ops import SqueezeExcitation

from compactmtl.models.deeplab import DeepLab
from compactmtl.models.segnet import SegNet

TASKS = {"seg": 13, "depth": 1}


class WithHeads(nn.Module):
    """A backbone under 1x1 heads, one per task, at the backbone's resolution.

    Args:
        backbone: Image to features.
        num_channels: Of the features.
        tasks: Number of output channels by task name.
    """

    def __init__(
        self, backbone: nn.Module, num_channels: int, tasks: Mapping[str, int] = TASKS
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict({n: nn.Conv2d(num_channels, c, 1) for n, c in tasks.items()})

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return one map per task."""
        features = self.backbone(image)
        return {name: head(features) for name, head in self.heads.items()}


class Chain(nn.Module):
    """VGG down four stages and up again, by nearest neighbours: no channel is read twice."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        stages = list(zip([3, *widths[:-1]], widths, (2, 2, 3, 3), strict=True))
        self.down = nn.ModuleList(vgg_stage(a, b, num) for a, b, num in stages)
        self.up = nn.ModuleList(
            vgg_stage(b, b if a == 3 else a, num) for a, b, num in reversed(stages)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features at the image's size."""
        for stage in self.down:
            x = F.max_pool2d(stage(x), 2)
        for stage in self.up:
            x = stage(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


def vgg_stage(num_in: int, num_out: int, num_convs: int) -> nn.Sequential:
    """Return convolutions 3x3 with batch norm and ReLU; the first changes the width."""
    modules: list[nn.Module] = []
    for i in range(num_convs):
        conv = nn.Conv2d(num_in if i == 0 else num_out, num_out, 3, padding=1)
        modules += [conv, nn.BatchNorm2d(num_out), nn.ReLU()]
    return nn.Sequential(*modules)


def chain(width: float = 1.0) -> nn.Module:
    """Return (a): a VGG chain down and up again, two heads."""
    widths = scaled(width, 64, 128, 256, 512)
    return WithHeads(Chain(widths), widths[0])


def deeplab(width: float = 1.0) -> nn.Module:
    """Return (b): dilated ResNet-50, three DeepLabV3 heads."""
    tasks = {"seg": 13, "depth": 1, "normals": 3}
    return DeepLab(tasks, width=width, head_channels=round(256 * width))


def mobile(width: float = 1.0) -> nn.Module:
    """Return (c): MobileNetV2, two heads."""
    backbone = MobileNetV2(width_mult=width).features
    return WithHeads(backbone, backbone[-1][0].out_channels)


def dense(width: float = 1.0) -> nn.Module:
    """Return (d): DenseNet with blocks of 6, 12 and 8 layers."""
    growth, first = scaled(width, 32, 64)
    backbone = DenseNet(growth, (6, 12, 8), first, bn_size=4).features
    return WithHeads(backbone, backbone.norm5.num_features)


def shuffle(width: float = 1.0) -> nn.Module:
    """Return (e): ShuffleNetV2."""
    net = ShuffleNetV2([4, 8, 4], scaled(width, 24, 116, 232, 464, 1024))
    backbone = nn.Sequential(net.conv1, net.maxpool, net.stage2, net.stage3, net.stage4, net.conv5)
    return WithHeads(backbone, net.conv5[0].out_channels)


class SEBlock(nn.Module):
    """A basic residual block whose result passes a squeeze-and-excitation gate of convolutions."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.gate = SqueezeExcitation(num_out, max(4, num_out // 4))
        self.shortcut = nn.Identity()
        if stride > 1 or num_in != num_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of gated result and shortcut."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.gate(self.bn2(self.conv2(y))) + self.shortcut(x))


def squeeze(width: float = 1.0) -> nn.Module:
    """Return (f): a residual network with squeeze-and-excitation, two blocks per stage."""
    first, *widths = scaled(width, 32, 32, 64, 128, 256)
    stem = [nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU()]
    blocks, before = [], first
    for stage, size in enumerate(widths):
        blocks += [SEBlock(before, size, 1 if stage == 0 else 2), SEBlock(size, size, 1)]
        before = size
    return WithHeads(nn.Sequential(*stem, *blocks), before)


def convnext(width: float = 1.0) -> nn.Module:
    """Return (g): ConvNeXt, layer norms over the channels and layer scales."""
    sizes = scaled(width, 48, 96, 192, 384)
    outs: Sequence[int | None] = [*sizes[1:], None]
    blocks = [
        CNBlockConfig(size, out, depth)
        for size, out, depth in zip(sizes, outs, (2, 2, 4, 2), strict=True)
    ]
    return WithHeads(ConvNeXt(blocks).features, sizes[-1])


def grouped(width: float = 1.0) -> nn.Module:
    """Return (h): three stages of ResNeXt, 8 groups."""
    net = ResNet(Bottleneck, [2, 2, 2, 1], groups=8, width_per_group=round(8 * width))
    backbone = nn.Sequential(
        net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3
    )
    return WithHeads(backbone, 1024)


def scaled(width: float, *sizes: int) -> list[int]:
    """Return channel counts times a width, rounded to multiples of 4."""
    return [max(4, 4 * round(width * size / 4)) for size in sizes]


def residual() -> nn.Module:
    """Return ResNet-50 as a classifier, which is no family but what everybody times."""
    return ResNet(Bottleneck, [3, 4, 6, 3])


def segnet(width: float = 1.0) -> nn.Module:
    """Return SegNet, five stages with unpooling, two heads."""
    return SegNet(TASKS, widths=tuple(scaled(width, 64, 128, 256, 512, 512)))
