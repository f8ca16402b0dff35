"""Random changes of training samples; they draw from torch's generator, which a run seeds."""

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
