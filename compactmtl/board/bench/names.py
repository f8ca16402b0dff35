"""What candidates are called."""

from collections.abc import Sequence
from pathlib import Path


def short_names(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the files by short names that tell them apart."""
    for names in (
        [p.stem for p in paths],
        [p.name for p in paths],
        [f"{p.parent.name}/{p.stem}" for p in paths],
        [f"{p.parent.name}/{p.name}" for p in paths],
    ):
        if len(set(names)) == len(names):
            return dict(zip(names, paths, strict=True))
    return {f"{path.stem}#{number}": path for number, path in enumerate(paths, start=1)}
