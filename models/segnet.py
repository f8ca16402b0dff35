"""SegNet, shared up to the last feature map, with one small head per task."""

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.errors import RecipeError
from compactmtl.models.heads import one_per_task

NUM_CONVS = (2, 2, 3, 3, 3)  # per stage, as in VGG-16


class SegNet(nn.Module):
    """SegNet as a multi-task "split" network: a shared encoder-decoder and a head per task.

    The whole encoder-decoder is shared and hence called the encoder. Each of its stages halves the
    image by max-pooling and remembers where the maxima were; the mirrored stages put values back
    to those places. There are no skip connections. A head is conv3x3, conv1x1 without activation.

    Args:
        tasks: Number of output channels by task name.
        widths: Channels of each stage, one to five stages of 2, 2, 3, 3, 3 convolutions.

    Shape:
        (N, 3, H, W) -> {task: (N, channels, H, W)}, for H and W of at least 2 ** stages, odd sizes
        included. Captured by torch.export with dynamic sizes: at least twice that.

    Raises:
        RecipeError: Not one to five positive widths, or a task name that cannot be used.

    Source:
        Badrinarayanan et al. (2017), SegNet; layer sizes and initialisation as in the "split"
        network of Liu et al. (2019), End-to-End Multi-Task Learning with Attention.
    """

    encoder_layers: ClassVar[tuple[str, ...]] = ("encoder.*",)
    head_reads: ClassVar[tuple[str, ...]] = ("heads.*.0",)

    def __init__(
        self, tasks: Mapping[str, int], widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    ) -> None:
        check_widths(widths)
        super().__init__()
        self.encoder = EncoderDecoder(widths)
        self.heads = one_per_task(tasks, lambda num_channels: head(widths[0], num_channels))
        initialise(self)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw output of each task, in the order of the tasks."""
        features = self.encoder(image)
        return {name: head(features) for name, head in self.heads.items()}


class EncoderDecoder(nn.Module):
    """The stages of SegNet, down and up again.

    Shape:
        (N, 3, H, W) -> (N, widths[0], H, W).
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])  # of each stage on the way down
        outputs = (widths[0], *widths[:-1])  # of its mirror on the way up
        stages = list(zip(inputs, widths, outputs, NUM_CONVS, strict=False))
        self.down = nn.ModuleList(stage(i, width, num) for i, width, _, num in stages)
        self.up = nn.ModuleList(stage(width, o, num) for _, width, o, num in reversed(stages))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last feature map."""
        pooled = []
        for down in self.down:
            x = down(x)
            size = x.shape[-2:]
            x, indices = F.max_pool2d(x, 2, return_indices=True)
            pooled.append((indices, size))
        for up in self.up:
            indices, size = pooled.pop()
            x = up(F.max_unpool2d(x, indices, (2, 2), output_size=size))
        return x


def stage(num_in: int, num_out: int, num_convs: int) -> nn.Sequential:
    """Return convolutions 3x3 with batch norm and ReLU; the first changes the width."""
    widths = (num_in, *(num_out for _ in range(num_convs)))
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def head(width: int, num_channels: int) -> nn.Sequential:
    """Return conv3x3 and conv1x1 without activation."""
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, num_channels, 1))


def check_widths(widths: tuple[int, ...]) -> None:
    """Check that there are one to five positive widths.

    Raises:
        RecipeError: There are not.
    """
    if not 1 <= len(widths) <= len(NUM_CONVS) or min(widths) < 1:
        raise RecipeError(f"SegNet: widths (={widths}) must be one to five positive numbers")


def initialise(network: nn.Module) -> None:
    """Draw every convolution as the "split" network does: Xavier-normal, biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
