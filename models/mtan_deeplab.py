"""MTAN on a dilated ResNet with DeepLab heads: attention over each stage for every task."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.models.attention import attention
from compactmtl.models.deeplab import DeepLabHead, check_head
from compactmtl.models.heads import one_per_task
from compactmtl.models.resnet import DilatedResNet


class MtanDeepLab(nn.Module):
    """A shared dilated ResNet whose stages every task masks for itself.

    The mask of a stage comes from the features before its last block, together with what the task
    took before; it is multiplied with the features behind that block. What a task took goes on
    through one block per stage that all tasks share, and is pooled once, where the network strides.

    Args:
        tasks: Number of output channels by task name.
        depth: As for ``DeepLab``, and so ``width``, ``head_channels``, ``rates``, ``dropout``.

    Shape:
        (N, 3, H, W) -> {task: (N, channels, H, W)}, any H and W.

    Raises:
        RecipeError: As ``DeepLab``.

    Source:
        Liu et al. (2019), End-to-End Multi-Task Learning with Attention, on ResNet as in the
        authors' published network.
    """

    encoder_layers: ClassVar[tuple[str, ...]] = ("encoder.*",)
    pretrained_part: ClassVar[str] = "encoder.resnet"
    head_reads: ClassVar[tuple[str, ...]] = (
        "attention.*.0",
        "heads.*.branches.*.0",
        "heads.*.pooled.0",
    )

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
        self.encoder = _Shared(depth, width)
        widths = self.encoder.widths
        self.attention = one_per_task(tasks, lambda _: _masks(widths))
        self.heads = one_per_task(
            tasks,
            lambda num_channels: DeepLabHead(
                widths[-1], num_channels, head_channels, rates, dropout
            ),
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw output of each task at the image's size, in the order of the tasks."""
        stages = self.encoder(image)
        return {
            name: F.interpolate(
                self.heads[name](self.encoder.follow(stages, masks)),
                size=image.shape[-2:],
                mode="bilinear",
                align_corners=False,
            )
            for name, masks in self.attention.items()
        }


def _masks(widths: tuple[int, ...]) -> nn.ModuleList:
    """Return one task's attention, stage by stage."""
    return nn.ModuleList(
        attention(width if level == 0 else 2 * width, max(1, width // 4), width)
        for level, width in enumerate(widths)
    )


class _Shared(nn.Module):
    """The ResNet, and the blocks that what a task took goes through."""

    def __init__(self, depth: Literal[18, 50], width: float) -> None:
        super().__init__()
        self.resnet = DilatedResNet(depth, width)
        self.widths = self.resnet.stage_channels
        self.follow_blocks = nn.ModuleList(
            self.resnet.block(num_in, num_out // self.resnet.block.expansion, 1, (1, 1))
            for num_in, num_out in zip(self.widths[:-1], self.widths[1:], strict=True)
        )

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return per stage what masks read and what they are multiplied with."""
        x, stages = self.resnet.stem(image), []
        for stage in self.resnet.stages:
            *blocks, last = stage
            for block in blocks:
                x = block(x)
            stages.append((x, last(x)))
            x = stages[-1][1]
        return stages

    def follow(self, stages: list[tuple[Tensor, Tensor]], masks: nn.Module) -> Tensor:
        """Return what one task takes from the shared features."""
        taken: Tensor | None = None
        assert isinstance(masks, nn.ModuleList)
        for level, ((before, behind), mask) in enumerate(zip(stages, masks, strict=True)):
            seen = before if taken is None else torch.cat([before, taken], dim=1)
            taken = mask(seen) * behind
            if level < len(self.follow_blocks):
                taken = self.follow_blocks[level](taken)
            if level == 0:  # where the next stage strides
                taken = F.max_pool2d(taken, 2, ceil_mode=True)
        assert taken is not None
        return taken
