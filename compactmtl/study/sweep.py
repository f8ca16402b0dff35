"""A sweep: how metrics, sparsity and cost change with the strength of the penalty."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compactmtl.environment import environment
from compactmtl.errors import TrainingError
from compactmtl.files import read_json, write_json
from compactmtl.lineage import REPORT
from compactmtl.multitask.delta import HIGHER_IS_BETTER
from compactmtl.study.cells import RunCell
from compactmtl.study.grid import GridPoint
from compactmtl.study.sweep_points import summarise_points
from compactmtl.study.sweep_timing import dense_name, time_models
from compactmtl.training.logs import read_log

RECORD = "sweep.json"
COUNTS = ("groups", "filters", "weights")
"""What the log counts the zeros of, in the penalised layers."""

Document = dict[str, Any]


def finish_sweep(
    grid: Sequence[GridPoint],
    cells: Sequence[RunCell],
    root: Path,
    *,
    name: str,
    failed: Mapping[Path, TrainingError],
    seconds: float,
    on_round: Callable[[], None] = lambda: None,
) -> Document:
    """Measure the compiled models of the finished runs, then write ``sweep.json``.

    Args:
        grid: What was swept.
        cells: Its runs.
        root: The sweep's folder.
        name: Of the recipe.
        failed: Folders of the runs that failed just now, and how.
        seconds: Least time of measuring, for each seed.
        on_round: Called after each round of measuring.

    Returns:
        The record.

    Raises:
        TrainingError: No run is finished.
        BenchError: A compiled model does not run.
        CorruptFileError: What a run wrote is damaged.
        WriteError: The record cannot be written.
    """
    finished = [cell for cell in cells if cell.is_done]
    if not finished:
        error = next(iter(failed.values()))
        raise TrainingError(
            f"all {len(cells)} runs failed; the first: {error.message}", hint=error.hint
        )
    series = {point.subject.label: point.series for point in grid}
    times = time_models(finished, series, root, seconds=seconds, on_round=on_round)
    points = {point.subject.label: point for point in grid}
    rows = [_row(points[cell.subject.label], cell, root, times, failed) for cell in cells]
    document = {
        "format_version": 1,
        "environment": environment(),
        "recipe": name,
        "selection": "last epoch, test split; nothing is chosen on it",
        "lams": list(dict.fromkeys(point.lam for point in grid)),
        "series": {point.series: list(point.subject.recipe.tasks) for point in grid},
        "seeds": len({cell.seed for cell in cells}),
        "higher_is_better": {
            metric: HIGHER_IS_BETTER.get(metric)
            for row in rows
            for found in row.get("metrics", {}).values()
            for metric in found
        },
        "timing": _timing(times),
        "runs": rows,
        "points": summarise_points(rows),
    }
    write_json(root / RECORD, document)
    return document


def _row(
    point: GridPoint,
    cell: RunCell,
    root: Path,
    times: Mapping[int, Document],
    failed: Mapping[Path, TrainingError],
) -> Document:
    """Return what is known of one run."""
    row: Document = {
        "series": point.series,
        "lam": point.lam,
        "seed": cell.seed,
        "folder": cell.folder.relative_to(root).as_posix(),
    }
    if not cell.is_done:
        return row | {"status": "failed", "said": failed[cell.folder].message}
    log, report = read_log(cell.run), read_json(cell.compact / REPORT)
    counts, census = log[-1]["sparsity"], report["census"]
    return row | {
        "status": "finished",
        "metrics": next(iter(read_json(cell.scores)["metrics"].values())),
        "sparsity": {
            **{what: _share(counts, what) for what in COUNTS},
            "removed_channels": census["removable_channels"] / census["num_channels"],
        },
        "macs": {"dense": report["before"]["macs"], "compact": report["after"]["macs"]},
        "num_params": {
            "dense": report["before"]["num_params"],
            "compact": report["after"]["num_params"],
        },
        "layers": [
            {
                "name": layer["name"],
                "channels": layer["in_before"],
                "nonzero": layer["in_before"] - layer["zero_groups"],
                "compiled": layer["in_after"],
            }
            for layer in report["layers"]
        ],
        "epochs": [
            {
                "epoch": epoch["epoch"],
                "phase": epoch["phase"],
                **{what: _share(epoch["sparsity"], what) for what in COUNTS},
            }
            for epoch in log
        ],
        **_times(times[cell.seed], point),
    }


def _share(counts: Mapping[str, int] | None, what: str) -> float | None:
    """Return a share of zeros; None where nothing is penalised, or not yet."""
    if not counts or not counts[f"num_{what}"]:
        return None
    return counts[f"zero_{what}"] / counts[f"num_{what}"]


def _times(document: Document, point: GridPoint) -> Document:
    label, dense = point.subject.label, dense_name(point.series)
    ratio = document["ratios"][f"{dense}/{label}"]
    models = document["models"]
    return {
        "cpu_ms": {
            "dense": models[dense]["cpu_ms"]["p50"],
            "compact": models[label]["cpu_ms"]["p50"],
        },
        "speedup": {"value": ratio["cpu"], "interval": ratio["cpu_interval"]},
    }


def _timing(times: Mapping[int, Document]) -> Document:
    """Return how it was measured."""
    first = next(iter(times.values()))
    return {
        "runtime": first["runtime"],
        "threads": first["threads"],
        "shapes": first["shapes"],
        "cpu": first["environment"].get("cpu"),
        "verdict": "noisy" if any(each["verdict"] == "noisy" for each in times.values()) else "ok",
        "why": [f"seed {seed}: {why}" for seed, each in times.items() for why in each["why"]],
    }
