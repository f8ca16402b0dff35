"""An own network: a small U-Net with one residual block. It knows nothing of compactmtl."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(num_in: int, num_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(num_out),
        nn.ReLU(),
    )


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class SmallUNet(nn.Module):
    """Encoder of three resolutions, decoder with skips, one 1x1 head per task.

    The factory that a recipe names: called as ``SmallUNet(tasks, **args)`` with the number of
    output channels of each task.
    """

    def __init__(self, tasks: Mapping[str, int], width: int = 16) -> None:
        super().__init__()
        self.stem = conv(3, width)
        self.down1 = conv(width, 2 * width, stride=2)
        self.down2 = conv(2 * width, 4 * width, stride=2)
        self.middle = Residual(4 * width)
        self.up1 = conv(6 * width, 2 * width)
        self.up2 = conv(3 * width, width)
        self.heads = nn.ModuleDict({name: nn.Conv2d(width, n, 1) for name, n in tasks.items()})

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x1 = self.stem(image)
        x2 = self.down1(x1)
        x = self.middle(self.down2(x2))
        x = self.up1(torch.cat([grow(x, x2), x2], dim=1))
        x = self.up2(torch.cat([grow(x, x1), x1], dim=1))
        return {name: head(x) for name, head in self.heads.items()}


def grow(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
