"""How `export` shows what fp16 or int8 makes of each task."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compactmtl.cli.console import console

if TYPE_CHECKING:
    from compactmtl.export.sidecar import Sidecar

FEW = 32
"""Fewer samples than this to calibrate on are worth a remark."""


def show_lowered(shown: "Mapping[Path, Sidecar]", folder: Path) -> None:
    """Print a line per file and task in lower precision: deviation, metric, change.

    Args:
        shown: Files that were run, each with its sidecar.
        folder: What names are shown relative to.
    """
    rows: list[list[Any]] = []
    for path, sidecar in shown.items():
        for task, parity in sidecar.verified.per_task.items():
            metric = parity.metric
            figures: list[Any] = ["-", None, None, None]
            if metric is not None:
                figures = [metric.name, metric.fp32, metric.lower, f"{metric.change:+.4f}"]
            name, size = path.relative_to(folder).as_posix(), f"{sidecar.size_bytes / 1e6:.2f}"
            rows.append([name, size, task, f"{parity.rel_rms:.1e}", *figures])
    if not rows:
        return
    columns = ["file", "MB", "task", "relative RMS", "metric", "fp32", "lower", "change"]
    console.table("", columns, rows)
    for path, sidecar in shown.items():
        for line in _lines(sidecar):
            console.info(f"{path.relative_to(folder).as_posix()}: {line}")


def _lines(sidecar: "Sidecar") -> list[str]:
    lowering = sidecar.lowering
    if lowering is None:
        return []
    lines = []
    samples = lowering.calibration
    if samples is not None:
        few = ", which is few: --calibration names others" if samples.num < FEW else ""
        lines.append(f"calibrated on {samples.num} {samples.source}{few}")
    if lowering.scored_on is not None:
        lines.append(f"metrics on {lowering.scored_on.num} {lowering.scored_on.source}")
    else:
        lines.append(f"no metric: {lowering.not_scored}")
    for task, budget in lowering.budgets.items():
        # Adding 0 makes -0 plain.
        lines.append(
            f"{task} within {budget.limit:g} ({budget.measure}): grew by {budget.reached + 0.0:.3g}"
        )
    if lowering.kept:
        names = ", ".join(layer.name for layer in lowering.kept)
        lines.append(f"{len(lowering.kept)} of {lowering.num_layers} layers in fp32: {names}")
    return lines
