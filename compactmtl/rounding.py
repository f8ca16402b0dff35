"""Another way in which the numbers of a network may be rounded."""

import torch
from torch import Tensor

DRAWS = 8
"""Further ways that are tried before a float32 result is called wrong: one is small by chance where
all error comes from one spot at which large values cancel."""


def nudged(value: Tensor, noise: torch.Generator) -> Tensor:
    """Return float32 numbers moved by up to one unit in the last place, at random; 0 stays 0.

    Args:
        value: Any tensor; other types come back as they are.
        noise: On the CPU.
    """
    if value.dtype is not torch.float32:
        return value
    steps = torch.randint(-1, 2, value.shape, generator=noise).to(value)
    return torch.nextafter(value, value * (1 + steps))
