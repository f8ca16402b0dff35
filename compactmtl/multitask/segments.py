"""How a panoptic map writes a class and a number into one integer."""

import torch
from torch import Tensor

MOST = 1 << 20
"""More segments of one class than any image holds."""
VOID = -1
"""A pixel without a label."""
CROWD = -2
"""A pixel of a crowd of class c is ``CROWD - c``: of that class, but of no segment."""


def segment_id(its_class: int | Tensor, number: int | Tensor) -> Tensor:
    """Return the id of segment ``number`` of a class; stuff has the number 0, things count from 1.

    Both may be tensors of one shape.
    """
    return torch.as_tensor(its_class) * MOST + torch.as_tensor(number)


def class_of(ids: Tensor) -> Tensor:
    """Return the class of each id, -1 where there is no segment."""
    return torch.where(ids >= 0, ids.div(MOST, rounding_mode="floor"), VOID)
