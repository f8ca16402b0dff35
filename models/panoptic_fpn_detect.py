"""The second stage of Panoptic FPN: torchvision's proposals and RoI heads, on given outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, paste_masks_in_image
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from compactmtl.models.panoptic_fpn_dense import LEVELS, SMALLEST
from compactmtl.models.panoptic_fpn_heads import BOX_SIDE, MASK_SIDE

ASPECTS = (0.5, 1.0, 2.0)
"""Height over width of the anchors at every place."""
SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)
"""Of ``LEVELS``."""

Things = dict[str, Tensor]


@dataclass(frozen=True)
class DetectorSettings:
    """Sizes of the second stage; the defaults are the published ones for COCO.

    Attributes:
        anchor_sizes: Side in pixels of the anchors of each level. A RoI as large as the anchors of
            a level is taken from about that level.
        proposals: How many proposals per image reach the heads.
        roi_batch: How many of them are trained on per image.
        detections: How many things per image are kept.
    """

    anchor_sizes: tuple[int, int, int, int, int] = (32, 64, 128, 256, 512)
    proposals: int = 1000
    roi_batch: int = 512
    detections: int = 100


class Detector(nn.Module):
    """Proposals, boxes and masks from the outputs of ``PanopticDense``.

    Its layers are two static graphs, functions of RoI features: ``roi_heads.box_head`` and
    ``roi_heads.mask_head``. All between them is torchvision's: anchors, matching, sampling, RoI
    align, non-maximum suppression.

    Args:
        num_classes: Number of classes of things.
        box_head: RoI features -> scores and deltas.
        mask_head: RoI features -> masks.
        settings: See ``DetectorSettings``.

    Source:
        He et al. (2017), Mask R-CNN.
    """

    def __init__(
        self,
        num_classes: int,
        box_head: nn.Module,
        mask_head: nn.Module,
        settings: DetectorSettings,
    ) -> None:
        super().__init__()
        sizes = tuple((size,) for size in settings.anchor_sizes)
        self.rpn = RegionProposalNetwork(
            AnchorGenerator(sizes, (ASPECTS,) * len(sizes)),
            _Apart(),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 2 * settings.proposals, "testing": settings.proposals},
            post_nms_top_n={"training": settings.proposals, "testing": settings.proposals},
            nms_thresh=0.7,
        )
        # Published: a RoI of 224 pixels belongs to p4, whose anchors have 128.
        canonical = round(settings.anchor_sizes[2] * 224 / 128)
        self.roi_heads = RoIHeads(
            _pool(BOX_SIDE, canonical),
            box_head,
            nn.Identity(),  # the box head predicts itself, so that it is one graph
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=settings.roi_batch,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=0.05,
            nms_thresh=0.5,
            detections_per_img=settings.detections,
            mask_roi_pool=_pool(MASK_SIDE, canonical),
            mask_head=mask_head,
            mask_predictor=nn.Identity(),
        )

    def losses(
        self, dense: Mapping[str, Tensor], image: Tensor, target: Sequence[Things]
    ) -> dict[str, Tensor]:
        """Return the losses of all parts on a batch, leaving out images that nobody labelled.

        Args:
            dense: What ``PanopticDense`` returned.
            image: The padded images (N, 3, H, W).
            target: As for the task ``Instances``; crowds are not trained on.
        """
        chosen = [place for place, one in enumerate(target) if bool(one["labelled"])]
        if not chosen:
            return {"nothing": torch.stack([x.sum() * 0 for x in dense.values()]).sum()}
        some = torch.tensor(chosen, device=image.device)
        dense = {name: values.index_select(0, some) for name, values in dense.items()}
        wanted = [_for_torchvision(target[place]) for place in chosen]
        sizes = [(int(image.shape[2]), int(image.shape[3]))] * len(chosen)
        boxes, first = self.rpn(ImageList(image[some], sizes), _anchored(dense), wanted)
        _, second = self.roi_heads(_levels(dense), boxes, sizes, wanted)
        return {**first, **second}

    def forward(
        self, dense: Mapping[str, Tensor], image: Tensor, size: tuple[int, int]
    ) -> list[Things]:
        """Return what is found in each image, best first.

        Args:
            dense: What ``PanopticDense`` returned.
            image: The padded images.
            size: Height and width before they were padded.
        """
        sizes = [size] * len(image)
        boxes, _ = self.rpn(ImageList(image, sizes), _anchored(dense))
        found, _ = self.roi_heads(_levels(dense), boxes, sizes)
        return [
            {
                "boxes": one["boxes"],
                "scores": one["scores"],
                "labels": one["labels"] - 1,  # 0 is torchvision's background
                "masks": paste_masks_in_image(one["masks"], one["boxes"], size)[:, 0] > 0.5,
            }
            for one in found
        ]


class _Apart(nn.Module):
    """Stands where torchvision has a proposal head: ours ran in the static graph."""

    def forward(self, packed: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        num = len(ASPECTS)
        return [x[:, :num] for x in packed], [x[:, num:] for x in packed]


def _anchored(dense: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {level: dense[f"rpn_{level}"] for level in (*LEVELS, SMALLEST)}


def _levels(dense: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {level: dense[level] for level in LEVELS}


def _pool(size: int, canonical: int) -> MultiScaleRoIAlign:
    pool = MultiScaleRoIAlign(list(LEVELS), size, 2, canonical_scale=canonical)
    # torchvision guesses these from the first image it sees, and wrongly from a small one.
    pool.scales = list(SCALES)
    pool.map_levels = initLevelMapper(2, 5, canonical_scale=canonical, canonical_level=4)
    return pool


def _for_torchvision(target: Things) -> Things:
    """Return one image's target in torchvision's form: without crowds, classes from 1 on."""
    own = ~target["crowd"]
    return {
        "boxes": target["boxes"][own],
        "labels": target["labels"][own] + 1,
        "masks": target["masks"][own].to(torch.uint8),
    }
