"""Things one by one: instance segmentation, a box, a class and a mask each."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from compactmtl.errors import DataError, RecipeError, UsageError
from compactmtl.multitask import colours
from compactmtl.multitask.instance_metric import InstanceMetric
from compactmtl.multitask.labels import class_names
from compactmtl.multitask.task import Task

Things = dict[str, Tensor]
"""What is in one image, or was found there; see ``Instances``."""

SHOWN_SCORE = 0.5
"""A prediction holds what was found with at least this score."""


class Instances(Task):
    """Instance segmentation, scored by COCO's average precision of the masks.

    Target of an image with n things, a dict: ``boxes`` (n, 4) float32, x0 y0 x1 y1 in pixels;
    ``labels`` (n,) int64, 0 to num_classes - 1; ``masks`` (n, H, W) bool; ``crowd`` (n,) bool, true
    for a region of things that nobody told apart; ``labelled`` () bool, false for an image that
    nobody labelled (one without things is labelled, and has n = 0). A batch is a list of these.

    Raw, in eval: per image a dict of ``boxes``, ``scores`` (n,), ``labels`` and ``masks``, best
    first. Raw, in training: the losses of the network's parts by name, scalars, computed by the
    network from the targets (``takes_targets``); the task's loss is their sum.

    Args:
        name: The task's name.
        num_classes: Number of classes of things, at least 1.
        classes: Their names.
        max_detections: How many things per image count in AP, the best first; COCO's figure is 100.

    Raises:
        RecipeError: No class, another number of names, or fewer than 11 detections.

    Source: Lin et al., Microsoft COCO, 2014, and the evaluation published with it.
    """

    kind: ClassVar[str] = "instances"
    primary: ClassVar[str] = "mask_ap"
    higher_is_better: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        num_classes: int,
        classes: tuple[str, ...] | None = None,
        max_detections: int = 100,
    ) -> None:
        if num_classes < 1:
            raise RecipeError(f"task `{name}`: num_classes (={num_classes}) must be at least 1")
        if max_detections < 11:  # COCO states recall at 1, 10 and this many
            raise RecipeError(
                f"task `{name}`: max_detections (={max_detections}) must be at least 11"
            )
        super().__init__(name, num_channels=num_classes)
        self.classes = class_names(name, num_classes, classes)
        self.max_detections = max_detections

    def valid(self, target: Sequence[Things]) -> Tensor:
        """Tell which images hold a thing to be found, as a bool tensor (N,)."""
        return torch.tensor(
            [bool(one["labelled"]) and not bool(one["crowd"].all()) for one in target]
        )

    def count(self, target: Sequence[Things]) -> Tensor:
        """Count the labelled images, those without a thing too: there is nothing to be found."""
        return torch.tensor(sum(bool(one["labelled"]) for one in target))

    def missing(self, height: int, width: int) -> Things:
        """Return what an image that nobody labelled has."""
        return things(
            torch.zeros(0, 4),
            torch.zeros(0, dtype=torch.int64),
            torch.zeros(0, height, width, dtype=torch.bool),
            labelled=False,
        )

    def check_target(self, target: object, blank: Things, where: str) -> None:
        """Check one image's things.

        Raises:
            DataError: A key is missing or of another form, or a box has no area; names the key.
        """
        if not isinstance(target, Mapping) or set(target) != set(blank):
            held = ", ".join(target) if isinstance(target, Mapping) else type(target).__name__
            raise DataError(f"{where} has {held}, expected a dict of {', '.join(blank)}")
        num = len(target["labels"])
        for key, model in blank.items():
            shape = (num, *model.shape[1:]) if model.ndim else ()
            got = target[key]
            if got.dtype != model.dtype or tuple(got.shape) != shape:
                raise DataError(
                    f"{where}: `{key}` is {got.dtype} {tuple(got.shape)}, expected {model.dtype} "
                    f"{shape}"
                )
        if num == 0:
            return
        low, high = int(target["labels"].min()), int(target["labels"].max())
        if low < 0 or high >= self.num_channels:
            raise DataError(
                f"{where}: label {low if low < 0 else high}, "
                f"expected 0 to {self.num_channels - 1} (num_classes = {self.num_channels})"
            )
        sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
        if not bool((sides > 0).all()):  # NaN too
            bad = int((~(sides > 0)).any(1).nonzero()[0])
            raise DataError(
                f"{where}: box {bad} is {target['boxes'][bad].tolist()}, expected x0 y0 x1 y1 with "
                "an area"
            )

    def stack(self, targets: Sequence[Things]) -> list[Things]:
        """Return the targets as a list."""
        return list(targets)

    def loss(self, raw: Mapping[str, Tensor], target: Sequence[Things]) -> Tensor:
        """Return the sum of the losses that the network computed.

        Raises:
            UsageError: The network returned something else in training.
        """
        if not isinstance(raw, Mapping) or not raw:
            raise UsageError(
                f"task `{self.name}`: the network yields a {type(raw).__name__} in training, "
                "expected a dict of losses",
                hint="set `takes_targets = True` on it, and return losses from forward(images, "
                "targets) while it trains",
            )
        return torch.stack([value.float() for value in raw.values()]).sum()

    def metric(self) -> InstanceMetric:
        """Return a metric that yields AP, AP50 and AP75 of masks and boxes.

        Raises:
            MissingExtraError: The extra `coco` is not installed.
        """
        return InstanceMetric(self)

    def predict(self, raw: Sequence[Things]) -> list[Things]:
        """Return what was found with a score of at least ``SHOWN_SCORE``."""
        found = []
        for one in raw:
            sure = one["scores"] >= SHOWN_SCORE
            found.append(things(one["boxes"][sure], one["labels"][sure], one["masks"][sure]))
        return found

    def constants(self, targets: Any) -> list[Tensor]:
        """Return none: nothing found is the best guess without an image, see ``floor``."""
        return []

    def floor(self) -> Mapping[str, float]:
        """Return the metrics of finding nothing: 0.

        Raises:
            MissingExtraError: The extra `coco` is not installed: known before a run, not after.
        """
        return dict.fromkeys(self.metric().names, 0.0)

    def picture(self, target: Things) -> colours.Picture:
        """Draw a colour per thing on black; a crowd is grey, an unlabelled image too."""
        masks = target["masks"].cpu().numpy()
        drawn = np.zeros((*masks.shape[1:], 3), dtype=np.uint8)
        if not bool(target["labelled"]):
            drawn[:] = colours.INVALID
        table = colours.palette(len(masks))
        for mask, crowd, colour in zip(masks, target["crowd"].tolist(), table, strict=True):
            drawn[mask] = colours.INVALID if crowd else colour
        return drawn

    def spec(self) -> dict[str, Any]:
        """Return kind, num_channels and the arguments."""
        classes = None if self.classes is None else list(self.classes)
        return {
            **super().spec(),
            "num_classes": self.num_channels,
            "classes": classes,
            "max_detections": self.max_detections,
        }


def things(
    boxes: Tensor,
    labels: Tensor,
    masks: Tensor,
    *,
    crowd: Tensor | None = None,
    labelled: bool = True,
) -> Things:
    """Return one image's target; see ``Instances``."""
    return {
        "boxes": boxes,
        "labels": labels,
        "masks": masks,
        "crowd": torch.zeros_like(labels, dtype=torch.bool) if crowd is None else crowd,
        "labelled": torch.tensor(labelled, device=labels.device),
    }


def boxes_of(masks: Tensor) -> Tensor:
    """Return the box of each mask, x0 y0 x1 y1, the far edges one past the last pixel.

    Shape:
        masks: (n, H, W) bool, none of them empty  ->  (n, 4) float32
    """
    spans = []
    for axis in (2, 1):
        seen = masks.any(dim=3 - axis)
        first = seen.float().argmax(dim=1)
        last = seen.shape[1] - seen.flip(1).float().argmax(dim=1)
        spans.append((first, last))
    (x0, x1), (y0, y1) = spans
    return torch.stack([x0, y0, x1, y1], dim=1).float()
