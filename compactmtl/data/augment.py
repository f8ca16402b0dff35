"""Random changes of training samples; they draw from torch's generator, which a run seeds."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def cropped_and_flipped(image: Tensor, padding: int) -> Tensor:
    """Shift an image (3, H, W) by up to ``padding`` pixels, zeros coming in, and mirror half."""
    height, width = image.shape[1:]
    top, left = torch.randint(0, 2 * padding + 1, (2,)).tolist()
    wide = F.pad(image, (padding, padding, padding, padding))
    part = wide[:, top : top + height, left : left + width]
    return part.flip(2) if bool(torch.rand(()) < 0.5) else part.contiguous()


def mirrored(image: Tensor, targets: Mapping[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """Mirror an image (3, H, W) with its things and maps, left to right.

    Args:
        image: The image.
        targets: Maps (..., W), or dicts of things, see ``compactmtl.multitask.instances``.
    """
    width = image.shape[-1]
    turned: dict[str, Any] = {}
    for name, target in targets.items():
        if isinstance(target, Mapping):
            x0, y0, x1, y1 = target["boxes"].unbind(1)
            boxes = torch.stack([width - x1, y0, width - x0, y1], dim=1)
            turned[name] = {**target, "boxes": boxes, "masks": target["masks"].flip(-1)}
        else:
            turned[name] = target.flip(-1)
    return image.flip(-1), turned
