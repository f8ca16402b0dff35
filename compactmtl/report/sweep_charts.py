"""The charts of a sweep over lambda: paper B, figure 4, and what it did not have."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from compactmtl.report import numbers
from compactmtl.report.figures import FAINT, INK, new_figure, shade_phases
from compactmtl.report.lambda_axis import lambda_axis, lambda_colours, lambda_text, places

Document = Mapping[str, Any]
Points = Sequence[Mapping[str, Any]]
SHARES = {
    "groups": ("zero groups", "#2563eb", "solid"),
    "weights": ("zero weights", "#c2410c", "solid"),
    "filters": ("zero filters", "#7c3aed", "dot"),
    "removed_channels": ("channels removed by the compiler", "#0d9488", "dash"),
}
AXIS_FONT = {"size": 11}


def metric_chart(
    document: Document, task: str, metric: str, colours: Mapping[str, str]
) -> go.Figure:
    """Draw a task's metric against lambda, a line per task set (figure 4 a)."""
    figure = _over_lambda(document, f"{task}: {metric}{arrow(document, metric)}", metric)
    for series in document["series"]:
        points = [p for p in _points(document, series) if task in p["metrics"]]
        spreads = [point["metrics"][task].get(metric) for point in points]
        _line(figure, document, points, spreads, series, colours[series])
    return figure


def time_chart(document: Document, colours: Mapping[str, str]) -> go.Figure:
    """Draw the compiled models' time against lambda; dense twins are dotted (figure 4 d)."""
    figure = _over_lambda(document, "CPU time of the compiled model ↓", "ms per image, median")
    for series in document["series"]:
        points = _points(document, series)
        spreads = [point["cpu_ms"]["compact"] for point in points]
        _line(figure, document, points, spreads, series, colours[series])
        dense = [point["cpu_ms"]["dense"]["mean"] for point in points]
        if dense:
            figure.add_hline(
                y=sum(dense) / len(dense),
                line={"color": colours[series], "width": 1, "dash": "dot"},
            )
    figure.update_yaxes(rangemode="tozero")
    return figure


def shares_chart(document: Document, series: str) -> go.Figure:
    """Draw shares of zeros and of removed channels against lambda (figure 4 b)."""
    figure = _over_lambda(document, series, "share")
    points = _points(document, series)
    for key, (name, colour, dash) in SHARES.items():
        spreads = [point["sparsity"][key] for point in points]
        _line(figure, document, points, spreads, name, colour, dash=dash, factor=100)
    figure.update_yaxes(range=[-3, 103], ticksuffix=" %")
    return figure


def profile_chart(document: Document, series: str) -> go.Figure:
    """Draw the share of zero groups over the epochs, a line per run (figure 4 c)."""
    figure = new_figure(series)
    runs = [r for r in finished(document) if r["series"] == series]
    colours = lambda_colours(document["lams"])
    for run in runs:
        figure.add_scatter(
            x=[epoch["epoch"] for epoch in run["epochs"]],
            y=[None if e["groups"] is None else 100 * e["groups"] for e in run["epochs"]],
            mode="lines+markers" if len(run["epochs"]) < 40 else "lines",
            line={"color": colours[run["lam"]], "width": 1.6},
            marker={"size": 4},
            name=f"λ {lambda_text(run['lam'])}, seed {run['seed']}",
            hovertemplate="%{y:.1f} %",
        )
    strongest = max(runs, key=lambda run: run["lam"], default={})  # lambda 0 may have no phases
    epochs = strongest.get("epochs", [])
    shade_phases(figure, epochs)
    figure.update_layout(
        showlegend=False,
        height=300,
        margin={"l": 60, "r": 20, "b": 48},
        xaxis={"title": _title("epoch"), "tick0": 0, "dtick": -(-len(epochs) // 12) or 1},
        yaxis={"range": [-3, 103], "ticksuffix": " %", "title": _title("zero groups")},
    )
    return figure


def finished(document: Document) -> list[Mapping[str, Any]]:
    """Return the runs that were done to the end."""
    return [run for run in document["runs"] if run["status"] == "finished"]


def arrow(document: Document, metric: str) -> str:
    """Return where better is, where it is known."""
    higher = document["higher_is_better"].get(metric)
    return "" if higher is None else f" {numbers.UP if higher else numbers.DOWN}"


def _points(document: Document, series: str) -> list[Mapping[str, Any]]:
    return [p for p in document["points"] if p["series"] == series and p["n"]]


def _over_lambda(document: Document, title: str, unit: str) -> go.Figure:
    figure = new_figure(title)
    axis = lambda_axis(document["lams"])
    figure.update_layout(
        showlegend=False,
        height=300,
        margin={"l": 64, "r": 28, "t": 46, "b": 52},
        hovermode="closest",
        xaxis={**axis, "title": {**axis["title"], "font": AXIS_FONT}},
        yaxis={"title": _title(unit)},
    )
    if 0 in document["lams"] and len(document["lams"]) > 1:
        at = sorted(places(document["lams"]).values())[:2]
        figure.add_vline(
            x=(at[0] * at[1]) ** 0.5, line={"color": FAINT, "width": 1, "dash": "dot"}
        )  # between 0 and the rest the axis is not a scale
    return figure


def _line(
    figure: go.Figure,
    document: Document,
    points: Points,
    spreads: Sequence[Mapping[str, Any] | None],
    name: str,
    colour: str,
    *,
    dash: str = "solid",
    factor: float = 1.0,
) -> None:
    """Draw means with the seeds' standard deviation; the seeds themselves are small dots."""
    at = places(document["lams"])
    known = [(p, s) for p, s in zip(points, spreads, strict=True) if s is not None]
    if not known:
        return
    shown = html.escape(name)
    figure.add_scatter(
        x=[at[point["lam"]] for point, spread in known for _ in spread["values"]],
        y=[factor * value for _, spread in known for value in spread["values"]],
        mode="markers",
        marker={"size": 4, "color": colour, "opacity": 0.35},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[at[point["lam"]] for point, _ in known],
        y=[factor * spread["mean"] for _, spread in known],
        error_y={
            "type": "data",
            "array": [factor * (spread["std"] or 0) for _, spread in known],
            "thickness": 1,
            "width": 3,
        },
        name=shown,
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": dash},
        marker={"size": 6},
        customdata=[
            [lambda_text(point["lam"]), spread["std"] or 0, point["n"]] for point, spread in known
        ],
        hovertemplate=f"{shown}<br>λ %{{customdata[0]}}: %{{y:.4g}} ± %{{customdata[1]:.2g}}, "
        "n = %{customdata[2]}<extra></extra>",
    )


def _title(text: str) -> dict[str, Any]:
    return {"text": html.escape(text), "font": {**AXIS_FONT, "color": INK}, "standoff": 6}
