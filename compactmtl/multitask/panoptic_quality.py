"""Panoptic quality, by its published definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compactmtl.multitask.metric import TaskMetric
from compactmtl.multitask.segments import CROWD, VOID, class_of

if TYPE_CHECKING:
    from compactmtl.multitask.panoptic import Panoptic


class PanopticQuality(TaskMetric):
    """PQ, SQ and RQ, each the mean over the classes that are in targets or predictions.

    Per class: a predicted and a true segment match where their IoU is above 1/2; then PQ = sum of
    matched IoU / (TP + FP/2 + FN/2), SQ = that sum / TP, RQ = TP / (TP + FP/2 + FN/2). Void pixels
    are taken out of the union. A true crowd is never matched and never missed, and a predicted
    segment that lies by more than half in void or in a crowd of its class is not counted as wrong.
    Things are matched image by image, so neither the size nor the order of batches matters.

    Source: Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4.
    """

    iou: Tensor
    hits: Tensor
    wrong: Tensor
    missed: Tensor
    task: Panoptic

    def __init__(self, task: Panoptic) -> None:
        super().__init__(task)
        zeros = torch.zeros(task.num_classes, dtype=torch.float64)
        self.add_state("iou", zeros, dist_reduce_fx="sum")
        for name in ("hits", "wrong", "missed"):
            self.add_count(name, task.num_classes)

    def count(self, raw: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch, image by image."""
        for found, true in zip(self.task.predict(raw), target, strict=True):
            self.task.check_ids(found)
            self.task.check_ids(true)
            self._count_image(found, true)  # where all is void, this adds nothing

    def _count_image(self, found: Tensor, true: Tensor) -> None:
        found = found.where(found >= 0, VOID)  # nothing else is a prediction
        segments, rows = torch.unique(true, return_inverse=True)
        guesses, columns = torch.unique(found, return_inverse=True)
        pairs = rows.flatten() * len(guesses) + columns.flatten()
        shared = pairs.bincount(minlength=len(segments) * len(guesses))
        shared = shared.view(len(segments), len(guesses)).double()

        in_void = shared[segments == VOID].sum(0)
        union = shared.sum(1, keepdim=True) + shared.sum(0) - shared - in_void
        true_class, found_class = class_of(segments), class_of(guesses)
        same = (true_class[:, None] == found_class) & (true_class[:, None] >= 0)
        match = same & (shared > 0.5 * union)  # each row and column holds one at most

        crowds = CROWD - segments  # the class, where it is a crowd
        of_its_crowd = shared.where((crowds[:, None] == found_class) & (crowds[:, None] >= 0), 0.0)
        excused = in_void + of_its_crowd.sum(0) > 0.5 * shared.sum(0)

        hit_class = true_class[match.any(1)]
        overlap = (shared / union)[match]  # in the order of the rows
        self.iou.index_add_(0, hit_class, overlap)
        self._add(self.hits, hit_class)
        self._add(self.missed, true_class[~match.any(1)])
        self._add(self.wrong, found_class[~match.any(0) & ~excused])

    def _add(self, counts: Tensor, classes: Tensor) -> None:
        counts += classes[classes >= 0].bincount(minlength=len(counts))

    def result(self) -> dict[str, Tensor]:
        """Return pq, sq, rq, pq_things and pq_stuff, each 0 to 1.

        Things or stuff of which no segment was there and none was found have no figure.
        """
        pq, sq, rq = self._by_class()
        there = ~pq.isnan()
        found = {
            name: values[there].mean() for name, values in (("pq", pq), ("sq", sq), ("rq", rq))
        }
        num = self.task.num_things
        for name, part in (("pq_things", pq[:num]), ("pq_stuff", pq[num:])):
            if not bool(part.isnan().all()):
                found[name] = part[~part.isnan()].mean()
        return found

    def per_class(self) -> dict[str, float]:
        """Return PQ of each class that is present, 0 to 1."""
        names = self.task.classes or tuple(map(str, range(self.task.num_classes)))
        by_class = zip(names, self._by_class()[0].tolist(), strict=True)
        return {name: value for name, value in by_class if value == value}

    def _by_class(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return PQ, SQ and RQ per class; NaN for a class that is nowhere."""
        hits = self.hits.double()
        weight = hits + self.wrong.double() / 2 + self.missed.double() / 2
        sq = (self.iou / hits.clamp(min=1)).where(weight > 0, torch.nan)
        return self.iou / weight, sq, hits / weight
