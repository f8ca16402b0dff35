"""What goes into a loaded artefact and comes out of it: arrays by name."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class InputInfo:
    """One input of a loaded artefact; ``shape`` holds text for dynamic dimensions."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
