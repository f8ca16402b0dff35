"""Changes of indoor scenes that keep depth and normals true: enlarge a part, mirror.

A sample is a dict with ``image`` (3, H, W) and any of ``seg`` (H, W), ``depth`` (1, H, W) and
``normals`` (3, H, W). Random numbers come from torch's generator, which a run seeds.

Source: the published code of Liu et al. (2019), End-to-End Multi-Task Learning with Attention.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = (1.0, 1.2, 1.5)
"""Zooms, as in the published code."""


def augmented(sample: dict[str, Tensor]) -> dict[str, Tensor]:
    """Enlarge a random part by one of ``SCALES``, and mirror half of the samples."""
    scale = SCALES[int(torch.randint(len(SCALES), ()))]
    height, width = sample["image"].shape[-2:]
    top = int(torch.randint(height - int(height / scale) + 1, ()))
    left = int(torch.randint(width - int(width / scale) + 1, ()))
    sample = zoomed(sample, scale, top, left)
    return sample if bool(torch.rand(()) < 0.5) else mirrored(sample)


def zoomed(sample: dict[str, Tensor], scale: float, top: int, left: int) -> dict[str, Tensor]:
    """Cut a part out and enlarge it to the former size.

    What is seen comes nearer by the same factor, so depth is divided by it: then a surface spans
    as many metres across as before. Normals are interpolated, made unit again and otherwise kept,
    which is exact only for what faces the camera.

    Args:
        sample: See above.
        scale: At least 1.
        top: First row of the part, which has 1 / scale of the rows.
        left: First column.
    """
    height, width = sample["image"].shape[-2:]
    rows, columns = int(height / scale), int(width / scale)
    part = {n: t[..., top : top + rows, left : left + columns] for n, t in sample.items()}
    size = (int(height), int(width))
    result = {}
    for name, tensor in part.items():
        if name == "seg":
            result[name] = _nearest(tensor[None].float(), size)[0].long()
        elif name == "depth":
            result[name] = _nearest(tensor, size) / scale
        else:
            smooth = F.interpolate(tensor[None], size, mode="bilinear", align_corners=True)[0]
            result[name] = F.normalize(smooth, dim=0) if name == "normals" else smooth
    return result


def mirrored(sample: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn left and right over: normals turn their x over."""
    sample = {name: tensor.flip(-1) for name, tensor in sample.items()}
    if "normals" in sample:
        sample["normals"] = sample["normals"] * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    return sample


def _nearest(tensor: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(tensor[None], size, mode="nearest")[0]
