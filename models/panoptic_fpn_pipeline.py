"""Panoptic FPN around its three static parts, whether these are layers or compact graphs."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.errors import UsageError
from compactmtl.models.panoptic_fpn_detect import Detector, DetectorSettings, Things
from compactmtl.models.panoptic_fpn_merge import merge
from compactmtl.models.panoptic_fpn_processing import PanopticProcessing
from compactmtl.static_parts import StaticPart

INSTANCES, SEMANTIC, PANOPTIC = "instances", "semantic", "panoptic"
DIVISOR = 32


class PanopticPipeline(nn.Module):
    """What finds and names things between the static parts, and makes the panoptic map.

    Args:
        dense: (N, 3, H, W), multiples of 32 -> the outputs of ``PanopticDense`` by name.
        box_head: RoI features -> scores and deltas, as ``BoxHead``.
        mask_head: RoI features -> masks, as ``MaskHead``.
        tasks: The outputs, in order.
        num_things: Number of classes of things.
        settings: Anchors, and how many proposals and things.
        stuff_area: Stuff of fewer pixels becomes void in the panoptic map.

    Shape:
        As ``PanopticFPN``.
    """

    takes_targets: ClassVar[bool] = True
    static_parts: ClassVar[Mapping[str, StaticPart]] = {
        "pixels": StaticPart("dense", ("image",)),
        "boxes": StaticPart("detector.roi_heads.box_head", ("box_features",), ("scores", "deltas")),
        "masks": StaticPart("detector.roi_heads.mask_head", ("mask_features",), ("masks",)),
    }

    def __init__(
        self,
        dense: nn.Module,
        box_head: nn.Module,
        mask_head: nn.Module,
        *,
        tasks: Sequence[str],
        num_things: int,
        settings: DetectorSettings,
        stuff_area: int,
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.num_things = num_things
        self.settings = settings
        self.stuff_area = stuff_area
        self.dense = dense
        self.detector = Detector(num_things, box_head, mask_head, settings)

    @classmethod
    def of_parts(cls, processing: Mapping[str, Any], parts: Mapping[str, nn.Module]) -> Self:
        """Return the network that ``processing`` and its parts, by name, make.

        Raises:
            ValueError: The settings are not of ``PanopticProcessing``.
        """
        known = PanopticProcessing.model_validate(processing)
        return cls(
            parts["pixels"],
            parts["boxes"],
            parts["masks"],
            tasks=known.tasks,
            num_things=known.num_things,
            settings=DetectorSettings(
                anchor_sizes=known.anchor_sizes,
                proposals=known.proposals,
                detections=known.detections,
            ),
            stuff_area=known.stuff_area,
        )

    def processing(self) -> dict[str, Any]:
        """Return the settings of ``PanopticProcessing``."""
        document: dict[str, Any] = PanopticProcessing.model_validate(
            {
                "tasks": self.tasks,
                "num_things": self.num_things,
                "stuff_area": self.stuff_area,
                "anchor_sizes": self.settings.anchor_sizes,
                "proposals": self.settings.proposals,
                "detections": self.settings.detections,
            }
        ).model_dump(mode="json")
        return document

    def forward(
        self, image: Tensor, targets: Mapping[str, Sequence[Things]] | None = None
    ) -> dict[str, Any]:
        """Return the output of each task, in the order of the tasks.

        Args:
            image: The images.
            targets: The batch's targets, of which training reads ``instances``.

        Raises:
            UsageError: In training, without targets.
        """
        height, width = int(image.shape[2]), int(image.shape[3])
        padded = F.pad(image, (0, -width % DIVISOR, 0, -height % DIVISOR))
        dense = self.dense(padded)
        semantic = dense[SEMANTIC][:, :, :height, :width]
        outputs: dict[str, Any] = {SEMANTIC: semantic}
        if self.training:
            if targets is None:
                raise UsageError(
                    "Panoptic FPN trains on boxes and masks: call it with images and targets, or "
                    "in eval mode"
                )
            outputs[INSTANCES] = self.detector.losses(dense, padded, targets[INSTANCES])
        else:
            found = outputs[INSTANCES] = self.detector(dense, padded, (height, width))
            if PANOPTIC in self.tasks:
                maps = [
                    merge(things, logits, self.num_things, stuff_area=self.stuff_area)
                    for things, logits in zip(found, semantic, strict=True)
                ]
                outputs[PANOPTIC] = torch.stack(maps).unsqueeze(1)
        return {name: outputs[name] for name in self.tasks if name in outputs}
