"""Panoptic segmentation: a class and, for things, a number per pixel."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from compactmtl.errors import DataError, RecipeError, UsageError
from compactmtl.multitask import colours
from compactmtl.multitask.labels import class_names
from compactmtl.multitask.metric import some
from compactmtl.multitask.panoptic_quality import PanopticQuality
from compactmtl.multitask.segments import CROWD, VOID, class_of, segment_id
from compactmtl.multitask.task import Task


class Panoptic(Task):
    """Panoptic segmentation, scored by PQ; made of other outputs, so it has no loss.

    Classes are numbered things first, then stuff. Target: int64 (H, W), per pixel the segment's id
    (``segments.segment_id``); below 0 there is none: void, or a crowd of a class. Raw: ids of the
    same form, (N, 1, H, W).

    Args:
        name: The task's name.
        num_things: Number of classes of things, at least 1.
        num_stuff: Number of classes of stuff, at least 1.
        classes: Names of both, things first.

    Raises:
        RecipeError: A kind without class, or another number of names.

    Source: Kirillov et al., Panoptic Segmentation, CVPR 2019.
    """

    kind: ClassVar[str] = "panoptic"
    primary: ClassVar[str] = "pq"
    higher_is_better: ClassVar[bool] = True
    trained: ClassVar[bool] = False

    def __init__(
        self, name: str, num_things: int, num_stuff: int, classes: tuple[str, ...] | None = None
    ) -> None:
        if num_things < 1 or num_stuff < 1:
            raise RecipeError(
                f"task `{name}`: num_things (={num_things}) and num_stuff (={num_stuff}) "
                "must be at least 1"
            )
        self.num_things, self.num_stuff = num_things, num_stuff
        self.num_classes = num_things + num_stuff
        super().__init__(name, num_channels=1)
        self.classes = class_names(name, self.num_classes, classes)

    def valid(self, target: Tensor) -> Tensor:
        """Tell which pixels belong to a segment."""
        return target >= 0

    def missing(self, height: int, width: int) -> Tensor:
        """Return a map that is void."""
        return torch.full((height, width), VOID, dtype=torch.int64)

    def check_ids(self, ids: Tensor) -> None:
        """Check that ids name classes that there are.

        Raises:
            DataError: An id is of another class.
        """
        crowds = ids[ids <= CROWD]
        worst = max(
            int(class_of(ids).max()) if ids.numel() else 0,
            int(CROWD - crowds.min()) if crowds.numel() else 0,
        )
        if worst >= self.num_classes:
            raise DataError(
                f"task `{self.name}`: class {worst} in a panoptic map, expected at most "
                f"{self.num_classes - 1}"
            )

    def loss(self, raw: Any, target: Any) -> Tensor:
        """Refuse: the map is made by a rule.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"task `{self.name}` is only scored: a panoptic map has no loss")

    def metric(self) -> PanopticQuality:
        """Return a metric that yields pq, sq and rq, and pq of things and of stuff."""
        return PanopticQuality(self)

    def predict(self, raw: Tensor) -> Tensor:
        """Return the ids (N, H, W)."""
        return raw.squeeze(1)

    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return one stuff class everywhere, the most frequent: no map of one segment does better.

        A single thing everywhere matches a thing only where that fills more than half of the image.
        """
        classes = class_of(some(self, targets[targets >= 0].unsqueeze(0))[0])
        counts = classes.bincount(minlength=self.num_classes)[self.num_things :]
        return [segment_id(counts.argmax() + self.num_things, 0).reshape(1)]

    def picture(self, target: Tensor) -> colours.Picture:
        """Draw stuff by its class and each thing in a colour of its own."""
        ids = target.cpu().numpy()
        drawn = np.empty((*ids.shape, 3), dtype=np.uint8)
        drawn[ids < 0] = colours.INVALID
        present = np.unique(ids[ids >= 0])
        classes = class_of(torch.from_numpy(present)).numpy()
        table = colours.palette(self.num_stuff + len(present))
        for place, (segment, its_class) in enumerate(zip(present, classes, strict=True)):
            stuff = int(its_class) - self.num_things
            drawn[ids == segment] = table[stuff if stuff >= 0 else self.num_stuff + place]
        return drawn

    def spec(self) -> dict[str, Any]:
        """Return kind, num_channels and the arguments."""
        classes = None if self.classes is None else list(self.classes)
        sizes = {"num_things": self.num_things, "num_stuff": self.num_stuff}
        return {**super().spec(), **sizes, "classes": classes}
