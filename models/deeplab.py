"""DeepLabV3 for several tasks: one dilated ResNet, one atrous-pyramid head per task."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.errors import RecipeError, UsageError
from compactmtl.models.heads import one_per_task
from compactmtl.models.resnet import DilatedResNet


class DeepLab(nn.Module):
    """A shared dilated ResNet with a DeepLabV3 head per task.

    Args:
        tasks: Number of output channels by task name.
        depth: 18 or 50, of the ResNet.
        width: Factor on the ResNet's channels.
        head_channels: Channels of every branch of a head.
        rates: Dilations of the head's branches 3x3, in pixels of an eighth of the image.
        dropout: Share of the head's pooled features zeroed in training. Published codes use 0.5
            and 0.3 on larger images; the default of 0.1 is DeepLab's own.

    Shape:
        (N, 3, H, W) -> {task: (N, channels, H, W)}, any H and W.

    Raises:
        RecipeError: A width that leaves no channel, or a task name that cannot be used.

    Source:
        Chen et al. (2017), Rethinking Atrous Convolution, section 3.3; upsampling is bilinear
        without aligned corners.
    """

    encoder_layers: ClassVar[tuple[str, ...]] = ("encoder.*",)
    pretrained_part: ClassVar[str] = "encoder"
    head_reads: ClassVar[tuple[str, ...]] = ("heads.*.branches.*.0", "heads.*.pooled.0")

    def __init__(
        self,
        tasks: Mapping[str, int],
        *,
        depth: Literal[18, 50] = 50,
        width: float = 1.0,
        head_channels: int = 256,
        rates: tuple[int, ...] = (12, 24, 36),
        dropout: float = 0.1,
    ) -> None:
        check_head(head_channels, rates)
        super().__init__()
        self.encoder = DilatedResNet(depth, width)
        self.heads = one_per_task(
            tasks,
            lambda num_channels: DeepLabHead(
                self.encoder.num_channels, num_channels, head_channels, rates, dropout
            ),
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw output of each task at the image's size, in the order of the tasks."""
        features = self.encoder(image)
        return {name: _resize(head(features), image) for name, head in self.heads.items()}


class DeepLabHead(nn.Module):
    """Atrous spatial pyramid pooling, projection, conv3x3, conv1x1.

    The pyramid reads the encoder through one branch 1x1, one branch 3x3 per rate, and one branch
    1x1 behind the mean over the image.

    Shape:
        (N, num_in, h, w) -> (N, num_out, h, w).

    Raises:
        UsageError: A single image in training mode; see ``forward``.
    """

    def __init__(
        self, num_in: int, num_out: int, width: int, rates: tuple[int, ...], dropout: float
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [_conv(num_in, width), *(_conv(num_in, width, 3, rate) for rate in rates)]
        )
        self.pooled = _conv(num_in, width)
        self.project = nn.Sequential(
            *_conv((len(self.branches) + 1) * width, width), nn.Dropout(dropout)
        )
        self.refine = _conv(width, width, 3)
        self.predict = nn.Conv2d(width, num_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return raw outputs at the features' size.

        Raises:
            UsageError: A single image in training mode: its mean over the image is one value per
                channel, and one value has no batch statistics.
        """
        if self.training and features.shape[0] == 1:
            raise UsageError(
                "a DeepLab head cannot train on a batch of one image: batch norm behind the mean "
                "over the image needs two or more",
                hint="choose a batch_size that leaves no last batch of one image",
            )
        mean = self.pooled(features.mean(dim=(2, 3), keepdim=True))
        parts = [branch(features) for branch in self.branches]
        joined = torch.cat([*parts, _resize(mean, features)], dim=1)
        raw: Tensor = self.predict(self.refine(self.project(joined)))
        return raw


def check_head(head_channels: int, rates: tuple[int, ...]) -> None:
    """Check the sizes of a head.

    Raises:
        RecipeError: One is not positive.
    """
    if head_channels < 1 or min(rates, default=1) < 1:
        raise RecipeError(
            f"DeepLab: head_channels (={head_channels}) and rates (={rates}) must be positive"
        )


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _conv(num_in: int, num_out: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(num_in, num_out, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(num_out), nn.ReLU())
