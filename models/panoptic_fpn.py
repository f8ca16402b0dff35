"""Panoptic FPN: things one by one and stuff, from one encoder."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.errors import RecipeError, UsageError
from compactmtl.models.panoptic_fpn_dense import PanopticDense
from compactmtl.models.panoptic_fpn_detect import ASPECTS, Detector, DetectorSettings, Things
from compactmtl.models.panoptic_fpn_merge import merge

INSTANCES, SEMANTIC, PANOPTIC = "instances", "semantic", "panoptic"
DIVISOR = 32


class PanopticFPN(nn.Module):
    """Mask R-CNN with a semantic branch on one feature pyramid, and their panoptic map.

    The tasks are those of the data sets ``coco`` and ``nuclei_instances``, by name: ``instances``,
    ``semantic`` (class 0 any thing, then stuff) and, scored only, ``panoptic``. In training it is
    called with the targets (``takes_targets``), and yields losses in the place of the instances.

    ``dense`` is a static graph, and so are ``detector.roi_heads.box_head`` and ``.mask_head``; all
    between them is Python and depends on what was found.

    Args:
        tasks: Number of classes by task name.
        depth: 18 or 50, of the ResNet.
        width: Factor on the ResNet's channels.
        fpn_channels: Channels of the pyramid.
        semantic_channels: Channels of the semantic branch.
        box_channels: Width of the box head.
        mask_channels: Width of the mask head.
        detector: Anchors, and how many proposals and things.
        stuff_area: Stuff of fewer pixels becomes void in the panoptic map.

    Shape:
        (N, 3, H, W), any H and W -> ``instances``: a list of N dicts, see
        ``compactmtl.multitask.instances``; ``semantic``: (N, num_stuff + 1, H, W); ``panoptic``:
        (N, 1, H, W) int64. In training ``instances`` is a dict of losses, and there is no
        ``panoptic``.

    Raises:
        RecipeError: Other tasks, or a size that is not positive.

    Source:
        Kirillov et al. (2019), Panoptic Feature Pyramid Networks. Batch norm is trained, as a
        network that starts from random weights needs.
    """

    takes_targets: ClassVar[bool] = True
    encoder_layers: ClassVar[tuple[str, ...]] = ("dense.encoder.*", "dense.fpn.*")
    head_reads: ClassVar[tuple[str, ...]] = (
        "dense.rpn.conv",
        "dense.semantic.branches.*.0.0",
        "detector.roi_heads.box_head.fc1",
        "detector.roi_heads.mask_head.convs.0",
    )

    def __init__(
        self,
        tasks: Mapping[str, int],
        *,
        depth: Literal[18, 50] = 50,
        width: float = 1.0,
        fpn_channels: int = 256,
        semantic_channels: int = 128,
        box_channels: int = 1024,
        mask_channels: int = 256,
        detector: DetectorSettings | None = None,
        stuff_area: int = 4096,
    ) -> None:
        if not {INSTANCES, SEMANTIC} <= set(tasks) <= {INSTANCES, SEMANTIC, PANOPTIC}:
            raise RecipeError(
                f"Panoptic FPN: the tasks are {', '.join(tasks)}; "
                f"expected {INSTANCES}, {SEMANTIC} and, if wanted, {PANOPTIC}"
            )
        detector = DetectorSettings() if detector is None else detector
        _check_sizes(
            fpn_channels=fpn_channels,
            semantic_channels=semantic_channels,
            box_channels=box_channels,
            mask_channels=mask_channels,
            anchor_sizes=min(detector.anchor_sizes),
            proposals=detector.proposals,
            roi_batch=detector.roi_batch,
            detections=detector.detections,
        )
        super().__init__()
        self.tasks = tuple(tasks)
        self.num_things = tasks[INSTANCES]
        self.stuff_area = stuff_area
        self.dense = PanopticDense(
            depth=depth,
            width=width,
            fpn_channels=fpn_channels,
            num_anchors=len(ASPECTS),
            semantic_channels=semantic_channels,
            num_classes=tasks[SEMANTIC],
        )
        self.detector = Detector(
            self.num_things, fpn_channels, box_channels, mask_channels, detector
        )

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


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise RecipeError(f"Panoptic FPN: {name} (={size}) must be positive")
