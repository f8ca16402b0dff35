"""A whole Panoptic FPN without torch, called as the tasks' metrics want it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from compactmtl.board.panoptic.session import PanopticSession
from compactmtl.export.board_errors import translated

THINGS = ("boxes", "scores", "labels", "masks")


def one_by_one(
    session: PanopticSession, tasks: Sequence[str]
) -> Callable[[Tensor], Mapping[str, Any]]:
    """Return what takes images (N, 3, H, W) and returns the raw outputs of ``tasks``, by name."""

    def predict(images: Tensor) -> Mapping[str, Any]:
        with translated():
            found = [session({"image": image[None].numpy()}) for image in images]
        whole: dict[str, Any] = {
            "instances": [
                {name: torch.from_numpy(each[name].copy()) for name in THINGS} for each in found
            ],
            "semantic": torch.cat([torch.from_numpy(each["semantic"]) for each in found]),
            "panoptic": torch.cat([torch.from_numpy(each["panoptic"]) for each in found]),
        }
        return {name: whole[name] for name in tasks}

    return predict
