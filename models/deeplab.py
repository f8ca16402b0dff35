"""DeepLabV3 for several tasks: one dilated ResNet, one atrous-pyramid head per task."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.errors import RecipeError, UsageError
from compactmtl.models.heads import one_per_task
from compactmtl.models.image_head import ImageHead
from compactmtl.models.resnet import DeepStemResNet, DilatedResNet
from compactmtl.parts import nearest


class DeepLab(nn.Module):
    """A shared dilated ResNet with a DeepLabV3 head per task; image tasks have a smaller one.

    Args:
        tasks: Number of output channels by task name.
        depth: 18 or 50, of the ResNet.
        width: Factor on the ResNet's channels.
        head_channels: Channels of every branch of a head.
        rates: Dilations of the head's branches 3x3, in pixels of an eighth of the image.
        dropout: Share of the head's pooled features zeroed in training. Published codes use 0.5
            and 0.3 on larger images; the default of 0.1 is DeepLab's own.
        stem: ``plain``, as torchvision's; ``deep``: three convolutions 3x3.
        image_tasks: Tasks with one output per image; see ``ImageHead``.

    Shape:
        (N, 3, H, W) -> {task: (N, channels, H, W)}, any H and W; (N, channels) for image tasks.

    Raises:
        RecipeError: A width that leaves no channel, a task name that cannot be used, or an image
            task that there is not.

    Source:
        Chen et al. (2017), Rethinking Atrous Convolution, section 3.3; upsampling is bilinear
        without aligned corners.
    """

    encoder_layers: ClassVar[tuple[str, ...]] = ("encoder.*",)
    pretrained_part: ClassVar[str] = "encoder"
    head_reads: tuple[str, ...]

    def __init__(
        self,
        tasks: Mapping[str, int],
        *,
        depth: Literal[18, 50] = 50,
        width: float = 1.0,
        head_channels: int = 256,
        rates: tuple[int, ...] = (12, 24, 36),
        dropout: float = 0.1,
        stem: Literal["plain", "deep"] = "plain",
        image_tasks: tuple[str, ...] = (),
    ) -> None:
        check_head(head_channels, rates)
        if stem not in ("plain", "deep"):
            raise RecipeError(f"DeepLab: stem is `{stem}`, expected plain or deep")
        for name in image_tasks:
            if name not in tasks:
                raise RecipeError(f"DeepLab: no task `{name}` in image_tasks{nearest(name, tasks)}")
        super().__init__()
        self.encoder = (DeepStemResNet if stem == "deep" else DilatedResNet)(depth, width)
        num_in = self.encoder.num_channels
        heads = {
            name: ImageHead(num_in, num_out)
            if name in image_tasks
            else DeepLabHead(num_in, num_out, head_channels, rates, dropout)
            for name, num_out in tasks.items()
        }
        self.heads = one_per_task(heads, lambda head: head)
        reads = [f"heads.{name}.{read}" for name, head in heads.items() for read in head.reads]
        self.head_reads = tuple(reads)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw output of each task at the image's size, in the order of the tasks."""
        features = self.encoder(image)
        raws = {name: head(features) for name, head in self.heads.items()}
        return {name: _resize(raw, image) if raw.ndim == 4 else raw for name, raw in raws.items()}


class DeepLabHead(nn.Module):
    """Atrous spatial pyramid pooling, projection, conv3x3, conv1x1.

    The pyramid reads the encoder through one branch 1x1, one branch 3x3 per rate, and one branch
    1x1 behind the mean over the image.

    Shape:
        (N, num_in, h, w) -> (N, num_out, h, w).

    Raises:
        UsageError: A single image in training mode; see ``forward``.
    """

    reads: ClassVar[tuple[str, ...]] = ("branches.*.0", "pooled.0")

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
