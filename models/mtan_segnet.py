"""MTAN on SegNet: one shared network, and attention over each of its stages for every task."""

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.models.attention import attention
from compactmtl.models.heads import one_per_task
from compactmtl.models.segnet import NUM_CONVS, check_widths, head, initialise, stage


class MtanSegNet(nn.Module):
    """SegNet whose features every task masks for itself, stage by stage.

    The mask of a stage comes from the stage's first features and from what the task took before;
    it is multiplied with the stage's last features. What a task took goes on through one
    convolution per stage that all tasks share, and through pooling on the way down or bilinear
    upsampling on the way up.

    Args:
        tasks: Number of output channels by task name.
        widths: As for ``SegNet``.

    Shape:
        (N, 3, H, W) -> {task: (N, channels, H, W)}, sizes as for ``SegNet``.

    Raises:
        RecipeError: As ``SegNet``.

    Source:
        Liu et al. (2019), End-to-End Multi-Task Learning with Attention, section 3 and figure 2.
    """

    encoder_layers: ClassVar[tuple[str, ...]] = ("encoder.*",)
    head_reads: ClassVar[tuple[str, ...]] = ("attention.*.0", "heads.*.0")

    def __init__(
        self, tasks: Mapping[str, int], widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    ) -> None:
        check_widths(widths)
        super().__init__()
        self.encoder = _Shared(widths)
        self.attention = one_per_task(tasks, lambda _: _Masks(widths))
        self.heads = one_per_task(tasks, lambda num_channels: head(widths[0], num_channels))
        initialise(self)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw output of each task, in the order of the tasks."""
        down, up = self.encoder(image)
        return {
            name: self.heads[name](self.encoder.follow(down, up, masks))
            for name, masks in self.attention.items()
        }


class _Masks(nn.Module):
    """One task's attention: over the stages down, then over those up."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            attention(width if level == 0 else 2 * width, width, width)
            for level, width in enumerate(widths)
        )
        outputs = (widths[0], *widths[:-1])
        self.up = nn.ModuleList(
            attention(width + out, out, out) for width, out in zip(widths, outputs, strict=True)
        )


class _Shared(nn.Module):
    """What all tasks share: the stages, and the convolutions that what a task took goes through."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        inputs, outputs = (3, *widths[:-1]), (widths[0], *widths[:-1])
        levels = list(zip(inputs, widths, outputs, NUM_CONVS, strict=False))
        self.down_first = nn.ModuleList(stage(i, width, 1) for i, width, _, _ in levels)
        self.down_rest = nn.ModuleList(stage(w, w, num - 1) for _, w, _, num in levels)
        self.up_first = nn.ModuleList(stage(width, out, 1) for _, width, out, _ in levels)
        self.up_rest = nn.ModuleList(stage(o, o, num - 1) for _, _, o, num in levels)
        follow = (*pairwise(widths), (widths[-1], widths[-1]))
        self.follow_down = nn.ModuleList(stage(width, out, 1) for width, out in follow)
        self.follow_up = nn.ModuleList(stage(width, out, 1) for _, width, out, _ in levels)

    def forward(self, x: Tensor) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
        """Return per level, from the image on, what masks read and what they are multiplied with.

        Going up, masks read what was unpooled.
        """
        down, pooled = [], []
        for first_part, rest in zip(self.down_first, self.down_rest, strict=True):
            first = first_part(x)
            last = rest(first)
            down.append((first, last))
            x, indices = F.max_pool2d(last, 2, return_indices=True)
            pooled.append((indices, last.shape[-2:]))
        up = []
        for level in reversed(range(len(down))):
            indices, size = pooled[level]
            wide = F.max_unpool2d(x, indices, (2, 2), output_size=size)
            x = self.up_rest[level](self.up_first[level](wide))
            up.append((wide, x))
        return down, up[::-1]

    def follow(
        self,
        down: list[tuple[Tensor, Tensor]],
        up: list[tuple[Tensor, Tensor]],
        masks: nn.Module,
    ) -> Tensor:
        """Return what one task takes from the shared features."""
        assert isinstance(masks, _Masks)
        taken: Tensor | None = None
        for (first, last), mask, conv in zip(down, masks.down, self.follow_down, strict=True):
            seen = first if taken is None else torch.cat([first, taken], dim=1)
            taken = F.max_pool2d(conv(mask(seen) * last), 2)
        assert taken is not None
        for level in reversed(range(len(up))):
            wide, last = up[level]
            taken = F.interpolate(taken, wide.shape[-2:], mode="bilinear", align_corners=True)
            seen = torch.cat([wide, self.follow_up[level](taken)], dim=1)
            taken = masks.up[level](seen) * last
        return taken
