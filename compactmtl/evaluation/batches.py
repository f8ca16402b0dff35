"""Any number of images through an artefact that may be fixed to sizes of batch and image."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compactmtl.errors import UsageError
from compactmtl.evaluation.sessions import Session


def in_batches(
    session: Session, name: str, *, build: Mapping[str, Any] | None
) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return what takes images (N, C, H, W) and returns the raw outputs, by name.

    Too many images go in several calls; too few are filled up by repeating, and what is too much is
    cut off again.

    Args:
        session: An artefact with one input.
        name: How messages call it.
        build: How an engine was built, from its sidecar: it takes the sizes of its profile only.
    """
    (info,) = session.inputs
    least, most = _batch_sizes(info.shape[0], info.name, build)

    def predict(images: Tensor) -> dict[str, Tensor]:
        array = images.numpy().astype(info.dtype)
        for axis in (1, 2, 3):
            if isinstance(info.shape[axis], int) and info.shape[axis] != array.shape[axis]:
                raise UsageError(
                    f"`{name}` is fixed to {list(info.shape)}, the images are {list(array.shape)}",
                    hint="export it for this size, or score it on a data set of its own size",
                )
        step = most or len(array)
        parts = []
        for start in range(0, len(array), step):
            part = array[start : start + step]
            full = part[np.arange(max(len(part), least)) % len(part)]
            parts.append({k: v[: len(part)] for k, v in session({info.name: full}).items()})
        return {
            name: torch.from_numpy(np.concatenate([part[name] for part in parts]))
            for name in parts[0]
        }

    return predict


def _batch_sizes(
    stated: int | str, name: str, build: Mapping[str, Any] | None
) -> tuple[int, int | None]:
    """Return the smallest and the largest batch size; None: any."""
    if isinstance(stated, int):
        return stated, stated
    profile = None if build is None else build.get("profile")
    if not isinstance(profile, Mapping) or name not in profile:
        return 1, None
    least, _, most = profile[name]
    return int(least[0]), int(most[0])
