"""Images in, boxes, masks and panoptic map out: exported parts, and numpy between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compactmtl.board.errors import AskedError, DamagedError
from compactmtl.board.panoptic.boxes import clip, decode, grid_anchors, kept_of, sides_from
from compactmtl.board.panoptic.maps import extents, inside, merged, pasted
from compactmtl.board.panoptic.parts import BOX_ALIGN, MASK_ALIGN, SUPPRESSION, Part
from compactmtl.board.panoptic.roi_align import pooled
from compactmtl.board.tensors import Array

LEVELS = ("p2", "p3", "p4", "p5")
ASPECTS = (0.5, 1.0, 2.0)
DIVISOR = 32
BOX_SIDE, MASK_SIDE = 7, 14
"""Of the features that the heads see; a mask has twice as many rows and columns."""
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
PROPOSAL_OVERLAP, BOX_OVERLAP = 0.7, 0.5
LEAST_SCORE = 0.05
LEAST_PROPOSAL, LEAST_BOX = 1e-3, 1e-2
"""Pixels of the shortest side."""


@dataclass(frozen=True)
class Processing:
    """Settings of what stands between the parts, from ``parts.json``.

    Attributes:
        num_things: Number of classes of things.
        stuff_area: Stuff of fewer pixels becomes void.
        anchor_sizes: Side in pixels of the anchors of each of five levels.
        proposals: How many proposals reach the heads.
        detections: How many things are kept.
    """

    num_things: int
    stuff_area: int
    anchor_sizes: tuple[int, ...]
    proposals: int
    detections: int

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Processing":
        """Read them.

        Raises:
            DamagedError: They are not those of this network.
        """
        try:
            if document["kind"] != "panoptic_fpn":
                raise ValueError(f"kind {document['kind']!r}")
            sizes = tuple(int(size) for size in document["anchor_sizes"])
            if len(sizes) != len(LEVELS) + 1:
                raise ValueError(f"{len(sizes)} sizes of anchors")
            names = ("num_things", "stuff_area", "proposals", "detections")
            return cls(anchor_sizes=sizes, **{name: int(document[name]) for name in names})
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(
                f"these are no settings of Panoptic FPN: {error}", hint="compress again"
            ) from error


class PanopticPipeline:
    """Finds things in one image and makes its panoptic map.

    Args:
        processing: The settings.
        parts: Those of ``compactmtl.board.panoptic.parts.NAMES``.

    Source:
        He et al. (2017), Mask R-CNN; Kirillov et al. (2019), Panoptic Feature Pyramid Networks;
        the arithmetic of torchvision, whose network this completes.
    """

    def __init__(self, processing: Processing, parts: Mapping[str, Part]) -> None:
        self.processing, self._parts = processing, parts
        self._canonical = round(processing.anchor_sizes[2] * 224 / 128)

    def __call__(self, image: Array) -> dict[str, Array]:
        """Run once.

        Args:
            image: (1, 3, H, W), any H and W.

        Returns:
            ``boxes`` (n, 4), ``scores`` (n,), ``labels`` (n,) from 0 on and ``masks`` (n, H, W),
            best first; ``semantic`` (1, C, H, W); ``panoptic`` (1, 1, H, W) int64.

        Raises:
            AskedError: It is not one image.
        """
        if image.ndim != 4 or len(image) != 1:
            raise AskedError(f"Panoptic FPN takes one image (1, 3, H, W), got {image.shape}")
        height, width = image.shape[2:]
        padded = np.pad(image, ((0, 0), (0, 0), (0, -height % DIVISOR), (0, -width % DIVISOR)))
        found = {name: array[0] for name, array in self._parts["pixels"]({"image": padded}).items()}
        levels = [found[level] for level in LEVELS]
        proposals = self._propose(found, padded.shape[2:], (height, width))
        boxes, scores, labels = self._detect(levels, proposals, height, width)
        masks = self._segment(levels, boxes, labels, height, width)
        semantic = found["semantic"][:, :height, :width]
        ids = merged(
            scores,
            labels,
            masks,
            inside(extents(boxes, 2 * MASK_SIDE), height, width),
            semantic,
            num_things=self.processing.num_things,
            stuff_area=self.processing.stuff_area,
        )
        return {
            "boxes": boxes,
            "scores": scores,
            "labels": labels,
            "masks": masks,
            "semantic": semantic[None],
            "panoptic": ids[None, None],
        }

    def _propose(
        self, found: Mapping[str, Array], padded: tuple[int, ...], size: tuple[int, int]
    ) -> Array:
        """Return the proposals (n, 4), best first."""
        settings = self.processing
        all_boxes, all_scores, all_levels = [], [], []
        for place, (level, anchor) in enumerate(
            zip((*LEVELS, "p6"), settings.anchor_sizes)  # noqa: B905
        ):
            what = found[f"rpn_{level}"]
            num, rows, columns = len(ASPECTS), what.shape[1], what.shape[2]
            sure = what[:num].transpose(1, 2, 0).reshape(-1)
            deltas = what[num:].reshape(num, 4, rows, columns).transpose(2, 3, 0, 1).reshape(-1, 4)
            best = np.argsort(-sure, kind="stable")[: settings.proposals]
            stride = (padded[0] // rows, padded[1] // columns)
            anchors = grid_anchors(rows, columns, stride, anchor, ASPECTS).astype(what.dtype)
            all_boxes.append(decode(deltas[best], anchors[best], (1.0, 1.0, 1.0, 1.0)))
            all_scores.append(sure[best])
            all_levels.append(np.full(len(best), place))
        boxes = clip(np.concatenate(all_boxes), *size)
        large = sides_from(boxes, LEAST_PROPOSAL)
        boxes, scores = boxes[large], np.concatenate(all_scores)[large]
        kinds = np.concatenate(all_levels)[large]
        kept = self._kept(boxes, scores, kinds, PROPOSAL_OVERLAP)[: settings.proposals]
        proposals: Array = boxes[kept]
        return proposals

    def _detect(
        self, levels: list[Array], proposals: Array, height: int, width: int
    ) -> tuple[Array, Array, Array]:
        """Return boxes, scores and labels of what is found, best first."""
        features = pooled(levels, proposals, BOX_SIDE, self._canonical, self._parts[BOX_ALIGN])
        if not len(features):
            nothing = np.zeros(0, dtype=features.dtype)
            return nothing.reshape(0, 4), nothing, nothing.astype(np.int64)
        seen = self._parts["boxes"]({"box_features": features})
        odds = np.exp(seen["scores"] - seen["scores"].max(axis=1, keepdims=True))
        sure = (odds / odds.sum(axis=1, keepdims=True))[:, 1:]
        deltas = seen["deltas"].reshape(len(proposals), -1, 4)[:, 1:]
        boxes = clip(decode(deltas, proposals, BOX_WEIGHTS), height, width).reshape(-1, 4)
        labels = np.broadcast_to(np.arange(sure.shape[1]), sure.shape).reshape(-1)
        sure = sure.reshape(-1)
        good = (sure > LEAST_SCORE) & sides_from(boxes, LEAST_BOX)
        boxes, sure, labels = boxes[good], sure[good], labels[good]
        kept = self._kept(boxes, sure, labels, BOX_OVERLAP)[: self.processing.detections]
        return boxes[kept], sure[kept], labels[kept]

    def _kept(self, boxes: Array, scores: Array, kinds: Array, threshold: float) -> Array:
        return kept_of(boxes, scores, kinds, threshold, self._parts[SUPPRESSION])

    def _segment(
        self, levels: list[Array], boxes: Array, labels: Array, height: int, width: int
    ) -> Array:
        """Return the masks (n, height, width)."""
        if not len(boxes):
            return np.zeros((0, height, width), dtype=bool)
        features = pooled(levels, boxes, MASK_SIDE, self._canonical, self._parts[MASK_ALIGN])
        logits = self._parts["masks"]({"mask_features": features})["masks"]
        own = logits[np.arange(len(boxes)), labels + 1]  # 0 is the background
        with np.errstate(over="ignore"):
            sure = 1 / (1 + np.exp(-own))
        return pasted(sure, boxes, height, width)
