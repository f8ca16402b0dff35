"""ResNet encoders: as published, dilated for dense tasks, and for small images."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from compactmtl.errors import RecipeError


class ResNet(nn.Module, ABC):
    """What all ResNets here share: stages of blocks, and a stem that a subclass chooses.

    Args:
        depth: 18 (basic blocks) or 50 (bottlenecks).
        width: Factor on all numbers of channels; 1 is the published network.

    Raises:
        RecipeError: A width that leaves no channel.

    Source:
        He et al. (2016), Deep Residual Learning.
    """

    num_blocks: ClassVar[dict[int, tuple[int, ...]]] = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
    dilates: ClassVar[bool]
    """Whether the last two stages dilate instead of stride."""

    def __init__(self, depth: Literal[18, 50], width: float = 1.0) -> None:
        planes = round(64 * width)
        if planes < 1:
            raise RecipeError(f"ResNet-{depth}: width (={width}) leaves no channel")
        super().__init__()
        block: type[_BasicBlock | _Bottleneck] = _BasicBlock if depth == 18 else _Bottleneck
        self.block = block
        self.conv1 = self.first_conv(planes)
        num_stem = self.num_stem(planes)
        self.bn1 = nn.BatchNorm2d(num_stem)
        self.relu = nn.ReLU()
        one, two, three, four = self.num_blocks[depth]
        wide = block.expansion * planes
        stride, inner, outer = (1, (1, 2), (2, 4)) if self.dilates else (2, (1, 1), (1, 1))
        self.layer1 = _stage(block, num_stem, planes, one)
        self.layer2 = _stage(block, wide, 2 * planes, two, stride=2)
        self.layer3 = _stage(block, 2 * wide, 4 * planes, three, stride=stride, dilations=inner)
        self.layer4 = _stage(block, 4 * wide, 8 * planes, four, stride=stride, dilations=outer)
        self.stage_channels = (wide, 2 * wide, 4 * wide, 8 * wide)
        self.num_channels = 8 * wide
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @abstractmethod
    def first_conv(self, planes: int) -> nn.Module:
        """Return the first convolution, or several, with ``num_stem(planes)`` output channels."""

    def num_stem(self, planes: int) -> int:
        """Return the channels that the first stage reads."""
        return planes

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of the last stage."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x

    def stem(self, x: Tensor) -> Tensor:
        """Return the features before the first stage."""
        features: Tensor = self.relu(self.bn1(self.conv1(x)))
        return features

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """The four stages."""
        return self.layer1, self.layer2, self.layer3, self.layer4


class StridedResNet(ResNet):
    """The published ResNet for large images; layers are named as in torchvision.

    Args:
        depth: As for ``ResNet``, and so ``width``.

    Shape:
        (N, 3, H, W) -> (N, num_channels, ceil(H / 32), ceil(W / 32)), any H and W.
    """

    dilates = False

    def __init__(self, depth: Literal[18, 50], width: float = 1.0) -> None:
        super().__init__(depth, width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def first_conv(self, planes: int) -> nn.Module:
        """Return a convolution 7x7 that halves the image."""
        return nn.Conv2d(3, planes, 7, stride=2, padding=3, bias=False)

    def stem(self, x: Tensor) -> Tensor:
        """Return the features before the first stage, at a quarter of the image's resolution."""
        features: Tensor = self.maxpool(super().stem(x))
        return features


class DilatedResNet(StridedResNet):
    """ResNet whose last two stages dilate instead of stride: output stride 8, not 32.

    It computes the same as the strided network at every fourth row and column, so torchvision's
    weights fit (without ``fc``). To that end a convolution that strides no more keeps the dilation
    of what it reads, and those behind it get twice that.

    Shape:
        (N, 3, H, W) -> (N, num_channels, ceil(H / 8), ceil(W / 8)), any H and W.

    Source:
        Yu et al. (2017), Dilated Residual Networks.
    """

    dilates = True


class DeepStemResNet(DilatedResNet):
    """A dilated ResNet that starts with three convolutions 3x3 instead of one 7x7.

    The last of them has twice the channels, and its weights are nobody's published ones.

    Arguments and shape as for ``DilatedResNet``.

    Source:
        He et al. (2019), Bag of Tricks for Image Classification, the stem of figure 2 (c), with the
        widths of the published code of paper B.
    """

    def first_conv(self, planes: int) -> nn.Module:
        """Return three convolutions 3x3, of which the first halves the image."""
        parts: list[nn.Module] = []
        for num_in, stride in ((3, 2), (planes, 1)):
            conv = nn.Conv2d(num_in, planes, 3, stride, padding=1, bias=False)
            parts += [conv, nn.BatchNorm2d(planes), nn.ReLU()]
        return nn.Sequential(*parts, nn.Conv2d(planes, 2 * planes, 3, padding=1, bias=False))

    def num_stem(self, planes: int) -> int:
        """Return twice the channels."""
        return 2 * planes


class SmallImageResNet(ResNet):
    """ResNet for images of about 32x32: a stem of 3x3 that keeps the size, and no pooling.

    Args:
        depth: As for ``ResNet``, and so ``width``.

    Shape:
        (N, 3, H, W) -> (N, num_channels, ceil(H / 8), ceil(W / 8)), any H and W.
    """

    dilates = False

    def first_conv(self, planes: int) -> nn.Conv2d:
        """Return a convolution 3x3 that keeps the size."""
        return nn.Conv2d(3, planes, 3, padding=1, bias=False)


class _Block(nn.Module):
    """Common to both blocks: what they add their result to."""

    expansion: ClassVar[int]

    def __init__(self, num_in: int, planes: int, stride: int) -> None:
        super().__init__()
        num_out = planes * self.expansion
        self.relu = nn.ReLU()
        self.downsample: nn.Sequential | None = None
        if stride != 1 or num_in != num_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out)
            )

    def shortcut(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)


class _BasicBlock(_Block):
    expansion = 1

    def __init__(self, num_in: int, planes: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__(num_in, planes, stride)
        self.conv1 = _conv3x3(num_in, planes, stride, dilations[0])
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3x3(planes, planes, 1, dilations[1])
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        result: Tensor = self.relu(y + self.shortcut(x))
        return result


class _Bottleneck(_Block):
    expansion = 4

    def __init__(self, num_in: int, planes: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__(num_in, planes, stride)
        self.conv1 = nn.Conv2d(num_in, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3x3(planes, planes, stride, dilations[0])
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        result: Tensor = self.relu(y + self.shortcut(x))
        return result


def _conv3x3(num_in: int, num_out: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, 3, stride, padding=dilation, dilation=dilation, bias=False)


def _stage(
    block: type[_BasicBlock | _Bottleneck],
    num_in: int,
    planes: int,
    num_blocks: int,
    *,
    stride: int = 1,
    dilations: tuple[int, int] = (1, 1),
) -> nn.Sequential:
    """Return a stage; ``dilations`` are those of its first convolution 3x3 and of all others."""
    first = block(num_in, planes, stride, dilations)
    wide, inner = planes * block.expansion, (dilations[1], dilations[1])
    return nn.Sequential(first, *(block(wide, planes, 1, inner) for _ in range(num_blocks - 1)))
