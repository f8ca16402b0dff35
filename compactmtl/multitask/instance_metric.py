"""COCO's average precision of boxes and masks, through torchmetrics."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from compactmtl.errors import DataError, MissingExtraError, NonFiniteError

if TYPE_CHECKING:
    from compactmtl.multitask.instances import Instances, Things

SOURCES = {"ap": "map", "ap50": "map_50", "ap75": "map_75"}
WAYS = {"mask": "segm", "box": "bbox"}


class InstanceMetric(Metric):
    """AP over the IoU thresholds .5 to .95, AP50 and AP75, of masks and of boxes, each 0 to 1.

    Things found in a crowd count neither for nor against. What was found is matched per image and
    ranked over the whole split, so neither the size nor the order of batches matters.

    Raises:
        MissingExtraError: The extra `coco` is not installed.

    Source: the evaluation published with COCO, in the rewriting of faster-coco-eval.
    """

    full_state_update = False
    names = tuple(f"{way}_{name}" for way in WAYS for name in SOURCES)
    """The metrics, the primary one first."""
    num_true: Tensor

    def __init__(self, task: Instances) -> None:
        check_extra()
        from torchmetrics.detection import MeanAveragePrecision

        super().__init__()
        self.task = task
        self.add_state("num_true", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.precision = MeanAveragePrecision(
            iou_type=("segm", "bbox"),
            # torchmetrics' own are rounded to float32, where 0.8 is above 0.8.
            iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
            rec_thresholds=np.linspace(0.0, 1.0, 101).tolist(),
            max_detection_thresholds=[1, 10, task.max_detections],
            backend="faster_coco_eval",
        )
        self.precision.warn_on_many_detections = False  # how many count is the task's argument

    def update(self, raw: Sequence[Things], target: Sequence[Things]) -> None:
        """Count one batch; images that nobody labelled are left out.

        Raises:
            DataError: There are not as many results as images, or the masks differ in size.
            NonFiniteError: A box or a score is NaN or Inf.
        """
        if len(raw) != len(target):
            raise DataError(
                f"task `{self.task.name}`: results for {len(raw)} images, expected {len(target)}"
            )
        labelled = [place for place, one in enumerate(target) if bool(one["labelled"])]
        for place in labelled:
            self._check(raw[place], target[place], place)
            self.num_true += (~target[place]["crowd"]).sum()
        self.precision.update(
            [
                {key: raw[place][key].detach() for key in ("boxes", "scores", "labels", "masks")}
                for place in labelled
            ],
            [
                {
                    **{key: target[place][key] for key in ("boxes", "labels", "masks")},
                    "iscrowd": target[place]["crowd"].int(),
                }
                for place in labelled
            ],
        )

    def compute(self) -> dict[str, Tensor]:
        """Return all metrics as scalars, the primary one first.

        Raises:
            DataError: Not one thing was there to be found, so AP is not defined.
        """
        if int(self.num_true) == 0:
            raise DataError(
                f"task `{self.task.name}`: not one thing in what was evaluated",
                hint="does the data set use this task's name, and are its things not all crowds?",
            )
        found = self.precision.compute()
        return {
            f"{way}_{name}": found[f"{prefix}_{source}"]
            for way, prefix in WAYS.items()
            for name, source in SOURCES.items()
        }

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self.precision.reset()

    def _check(self, found: Things, true: Things, place: int) -> None:
        if found["masks"].shape[1:] != true["masks"].shape[1:]:
            raise DataError(
                f"task `{self.task.name}`: masks found in image {place} of a batch are "
                f"{tuple(found['masks'].shape[1:])}, expected {tuple(true['masks'].shape[1:])}"
            )
        for key in ("boxes", "scores"):
            if not bool(torch.isfinite(found[key]).all()):
                raise NonFiniteError(
                    f"task `{self.task.name}`: `{key}` of image {place} of a batch hold NaN or Inf",
                    hint="lower the learning rate, or look for the first layer that overflows",
                )


def check_extra() -> None:
    """Refuse to go on without the COCO tools.

    Raises:
        MissingExtraError: The extra `coco` is not installed.
    """
    if importlib.util.find_spec("faster_coco_eval") is None:
        raise MissingExtraError(
            "COCO's masks and average precision need faster-coco-eval, which is not installed",
            hint='pip install "compactmtl[coco]"',
        )
