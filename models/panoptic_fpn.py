"""Panoptic FPN: things one by one and stuff, from one encoder."""

import copy
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

from compactmtl.errors import RecipeError
from compactmtl.models.panoptic_fpn_dense import PanopticDense
from compactmtl.models.panoptic_fpn_detect import ASPECTS, DetectorSettings
from compactmtl.models.panoptic_fpn_heads import BoxHead, MaskHead
from compactmtl.models.panoptic_fpn_narrow import Handed, filled_up, read_channels
from compactmtl.models.panoptic_fpn_pipeline import (
    INSTANCES,
    PANOPTIC,
    SEMANTIC,
    PanopticPipeline,
)


class PanopticFPN(PanopticPipeline):
    """Mask R-CNN with a semantic branch on one feature pyramid, and their panoptic map.

    The tasks are those of the data sets ``coco`` and ``nuclei_instances``, by name: ``instances``,
    ``semantic`` (class 0 any thing, then stuff) and, scored only, ``panoptic``. In training it is
    called with the targets (``takes_targets``), and yields losses in the place of the instances.

    Its ``static_parts`` are graphs that can be compiled; all between them is Python and depends on
    what was found.

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
        num_things = tasks[INSTANCES]
        super().__init__(
            PanopticDense(
                depth=depth,
                width=width,
                fpn_channels=fpn_channels,
                num_anchors=len(ASPECTS),
                semantic_channels=semantic_channels,
                num_classes=tasks[SEMANTIC],
            ),
            BoxHead(fpn_channels, box_channels, num_things),
            MaskHead(fpn_channels, mask_channels, num_things),
            tasks=tuple(tasks),
            num_things=num_things,
            settings=detector,
            stuff_area=stuff_area,
        )

    def narrowed(self, round_up: Callable[[int], int]) -> "PanopticFPN":
        """Return a copy whose pyramid hands on only the channels that a RoI head reads.

        Args:
            round_up: From how many these are to how many are handed on, if there are so many.

        Raises:
            UsageError: A head is expanded.
        """
        small = copy.deepcopy(self)
        heads = small.detector.roi_heads
        readers = [heads.box_head.fc1, heads.mask_head.convs[0]]
        num_channels = heads.box_head.handed.num_channels
        kept = filled_up(read_channels(readers, num_channels), num_channels, round_up)
        for place in small.modules():
            if isinstance(place, Handed):
                place.keep(kept)
        return small


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise RecipeError(f"Panoptic FPN: {name} (={size}) must be positive")
