"""What studies of paired seeds share: the record that they continue, and how cells are shown."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from compactmtl.environment import environment
from compactmtl.files import write_json
from compactmtl.multitask.delta import HIGHER_IS_BETTER
from compactmtl.study.paired import cell as summary
from compactmtl.study.paired import difference

Row = dict[str, Any]
Metrics = dict[str, dict[str, float]]

FIRST = {
    "seg": "miou", "depth": "abs_err", "normals": "mean_angle", "mask": "iou", "distance": "mae",
    "direction": "mae", "fine": "accuracy", "coarse": "accuracy",
}  # fmt: skip
"""The metric by which a task is ranked."""


def read_rows(path: Path) -> list[Row]:
    """Return the finished cells of a record; none where there is no record."""
    if not path.is_file():
        return []
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return rows


def write_rows(path: Path, question: str, rows: Iterable[Row]) -> None:
    """Write a record with the environment it was continued in."""
    write_json(
        path,
        {
            "format_version": 1,
            "question": question,
            "environment": environment(),
            "cells": list(rows),
        },
    )


def compared(own: dict[int, float], base: dict[int, float] | None, metric: str) -> str:
    """Return mean and deviation, and the paired difference from the baseline.

    Args:
        own: Values by seed.
        base: Those of the baseline; None for the baseline itself.
        metric: Its name, which says what is better.
    """
    if not own:
        return "not run"
    text = spread(list(own.values()))
    found = base and difference(own, base, higher_is_better=HIGHER_IS_BETTER[metric])
    if not found or found.se is None:
        return text
    return f"{text} ({found.mean:+.2g}, se {found.se:.1g}: {found.verdict})"


def spread(values: list[float]) -> str:
    """Return mean and, where there are several, deviation."""
    found = summary(values)
    return f"{found.mean:.4g}" + (f" +- {found.std:.2g}" if found.std is not None else "")


def markdown(rows: Iterable[list[str]]) -> list[str]:
    """Return lines of a Markdown table, the first row as its head."""
    head, *body = rows
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body]]
