"""Where the time of a network in parts goes."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median

from compactmtl.board.panoptic.session import PanopticSession
from compactmtl.board.tensors import Array

CALLS = 11
"""How many calls the medians are of; one more comes first and does not count."""


def parts_ms(path: Path, inputs: Mapping[str, Array]) -> dict[str, float]:
    """Return the median CPU time of each part in a call, and of what stands between them.

    Args:
        path: The whole network's artefact.
        inputs: What it is called with.

    Unit: milliseconds, one thread.
    """
    session = PanopticSession(path, threads=1)
    session(inputs)
    times: dict[str, list[float]] = {}
    for _ in range(CALLS):
        session(inputs)
        for name, value in session.times_ms.items():
            times.setdefault(name, []).append(value)
    return {name: median(values) for name, values in times.items()}
