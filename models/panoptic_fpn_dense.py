"""The part of Panoptic FPN that is one static graph: encoder, pyramid, and heads on all pixels."""

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from compactmtl.models.panoptic_fpn_narrow import Handed
from compactmtl.models.resnet import StridedResNet

LEVELS = ("p2", "p3", "p4", "p5")
"""Levels of the pyramid that RoIs are taken from, at 1/4, 1/8, 1/16 and 1/32 of the image."""
SMALLEST = "p6"
"""One more level, for proposals only."""


class PanopticDense(nn.Module):
    """ResNet, feature pyramid, proposal head and semantic branch.

    Shape:
        (N, 3, H, W) with H and W multiples of 32  ->  a dict of ``semantic``
        (N, num_classes, H, W); ``p2`` to ``p5`` (N, fpn_channels, H/4 ... H/32, ...); and
        ``rpn_p2`` to ``rpn_p6`` (N, 5 * num_anchors, ...): for each anchor its objectness, behind
        them for each anchor four box deltas.

    Source:
        Lin et al. (2017), Feature Pyramid Networks; Kirillov et al. (2019), Panoptic Feature
        Pyramid Networks, section 3.
    """

    def __init__(
        self,
        *,
        depth: Literal[18, 50],
        width: float,
        fpn_channels: int,
        num_anchors: int,
        semantic_channels: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.encoder = StridedResNet(depth, width)
        self.fpn = FeaturePyramidNetwork(
            list(self.encoder.stage_channels), fpn_channels, extra_blocks=LastLevelMaxPool()
        )
        self.rpn = ProposalHead(fpn_channels, num_anchors)
        self.handed = Handed(fpn_channels)
        self.semantic = SemanticBranch(fpn_channels, semantic_channels, num_classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name."""
        features, stages = self.encoder.stem(image), {}
        for level, stage in zip(LEVELS, self.encoder.stages, strict=True):
            features = stages[level] = stage(features)
        pyramid = dict(zip((*LEVELS, SMALLEST), self.fpn(stages).values(), strict=True))
        semantic = self.semantic([pyramid[level] for level in LEVELS])
        return {
            "semantic": F.interpolate(
                semantic, scale_factor=4.0, mode="bilinear", align_corners=False
            ),
            **{level: self.handed.narrow(pyramid[level]) for level in LEVELS},
            **{f"rpn_{level}": self.rpn(level_of) for level, level_of in pyramid.items()},
        }


class ProposalHead(nn.Module):
    """Objectness and box deltas of every anchor, from one level of the pyramid.

    Shape:
        (N, num_in, h, w) -> (N, 5 * num_anchors, h, w), objectness first.

    Source:
        Ren et al. (2015), Faster R-CNN, section 3.1.
    """

    def __init__(self, num_in: int, num_anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_in, num_in, 3, padding=1)
        self.relu = nn.ReLU()
        self.predict = nn.Conv2d(num_in, 5 * num_anchors, 1)
        for layer in (self.conv, self.predict):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return what is known of each anchor."""
        found: Tensor = self.predict(self.relu(self.conv(features)))
        return found


class SemanticBranch(nn.Module):
    """Classes at a quarter of the image, from the sum of all levels brought to that size.

    Shape:
        Four levels (N, num_in, h, w), each half of the one before -> (N, num_classes, h, w) of the
        first.
    """

    def __init__(self, num_in: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                *(_conv(num_in if step == 0 else width, width) for step in range(max(1, level)))
            )
            for level in range(len(LEVELS))
        )
        self.predict = nn.Conv2d(width, num_classes, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return logits of the classes."""
        total = self.branches[0](levels[0])
        for level, branch in enumerate(self.branches[1:], start=1):
            x = levels[level]
            for step, block in enumerate(branch.children(), start=1):
                size = levels[level - step].shape[-2:]
                x = F.interpolate(block(x), size=size, mode="bilinear", align_corners=False)
            total = total + x
        logits: Tensor = self.predict(total)
        return logits


def _conv(num_in: int, width: int) -> nn.Sequential:
    conv = nn.Conv2d(num_in, width, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.GroupNorm(math.gcd(32, width), width), nn.ReLU())
