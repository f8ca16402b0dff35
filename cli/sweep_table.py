"""A sweep as tables: one per task set, a row per lambda."""

from collections.abc import Mapping
from typing import Any

from compactmtl.cli.console import console

Document = Mapping[str, Any]
SHARES = {
    "groups": "zero groups",
    "filters": "zero filters",
    "removed_channels": "channels removed",
    "weights": "zero weights",
}


def show(document: Document) -> None:
    """Print the tables and how the times were measured."""
    for series in document["series"]:
        points = [point for point in document["points"] if point["series"] == series]
        done = [point for point in points if point["n"]]
        if not done:
            console.info(f"{series}: no run is finished")
            continue
        firsts = {task: next(iter(found)) for task, found in done[0]["metrics"].items()}
        columns = ["lam", *(f"{task} {metric}" for task, metric in firsts.items())]
        columns += [*SHARES.values(), "MMACs", "parameters", "CPU ms", "dense/this", "n"]
        console.table(series, columns, [_row(point, firsts) for point in done])
    timing = document["timing"]
    shape = "x".join(str(n) for n in next(iter(timing["shapes"].values())))
    console.info(
        f"means over n seeds (± standard deviation), test split, last epoch; time: "
        f"{timing['runtime']}, {timing['threads']} thread, {shape}, median of each run"
    )
    if timing["verdict"] != "ok":
        console.warn(f"times are noisy: {timing['why'][0]}")


def _row(point: Document, firsts: Mapping[str, str]) -> list[str | float | int | None]:
    metrics = [point["metrics"][task][metric] for task, metric in firsts.items()]
    shares = [point["sparsity"][key] for key in SHARES]
    return [
        f"{point['lam']:g}",
        *(_spread(metric, "{:.4g}") for metric in metrics),
        *(_spread(share, "{:.1%}") for share in shares),
        _spread(point["macs"]["compact"], "{:.4g}", 1e-6),
        _spread(point["num_params"]["compact"], "{:,.0f}"),
        _spread(point["cpu_ms"]["compact"], "{:.3g}"),
        _spread(point["speedup"], "{:.2f}"),
        point["n"],
    ]


def _spread(spread: Document | None, form: str, factor: float = 1.0) -> str | None:
    if spread is None:
        return None
    mean = form.format(spread["mean"] * factor)
    return mean if not spread["std"] else f"{mean} ± {form.format(spread['std'] * factor)}"
