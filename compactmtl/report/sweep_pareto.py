"""Every task's metric against MACs and time, for all models of a sweep, in one picture."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from compactmtl.report.figures import FAINT, GRID, new_figure
from compactmtl.report.lambda_axis import lambda_text
from compactmtl.report.sweep_charts import arrow
from compactmtl.report.tradeoff import front

COSTS = {"macs": ("MACs of the compiled model, M", 1e-6), "cpu_ms": ("CPU time, ms", 1.0)}
ROW_PX = 260

Point = Mapping[str, Any]


def pareto_chart(
    document: Mapping[str, Any], firsts: Mapping[str, str], colours: Mapping[str, str]
) -> go.Figure:
    """Draw a row per task and a column per cost; the dashed line joins what nothing beats.

    Args:
        document: The record.
        firsts: Task to the metric that ranks it.
        colours: Of the task sets.
    """
    figure = make_subplots(
        rows=len(firsts),
        cols=len(COSTS),
        shared_xaxes="columns",
        shared_yaxes="rows",
        vertical_spacing=0.16 / len(firsts),
        horizontal_spacing=0.04,
    )
    style = new_figure("").layout
    figure.update_layout(
        template="none",
        font=style.font,
        height=60 + ROW_PX * len(firsts),
        margin={"l": 70, "r": 12, "t": 12, "b": 48},
        showlegend=False,
        hovermode="closest",
        paper_bgcolor=style.paper_bgcolor,
        plot_bgcolor=style.plot_bgcolor,
    )
    for row, (task, metric) in enumerate(firsts.items(), 1):
        points = [p for p in document["points"] if p["n"] and task in p["metrics"]]
        for column, (cost, (_, factor)) in enumerate(COSTS.items(), 1):
            place = {"row": row, "col": column}
            _add_front(figure, document, points, task, metric, cost, place)
            for series in document["series"]:
                own = [point for point in points if point["series"] == series]
                _add_series(figure, own, task, metric, cost, factor, colours[series], place)
        text = f"{html.escape(task)}: {html.escape(metric)}{arrow(document, metric)}"
        figure.update_yaxes(
            title={"text": text, "font": {"size": 12}, "standoff": 8}, row=row, col=1
        )
    for column, (name, _) in enumerate(COSTS.values(), 1):
        figure.update_xaxes(title={"text": name, "font": {"size": 12}}, row=len(firsts), col=column)
    figure.update_xaxes(gridcolor=GRID, zeroline=False, rangemode="tozero", showline=True,
                        linecolor=GRID)  # fmt: skip
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    return figure


def _at(point: Point, task: str, metric: str, cost: str) -> tuple[float, float] | None:
    """Return cost and metric where both are known."""
    value = point["metrics"][task].get(metric)
    return None if value is None else (point[cost]["compact"]["mean"], value["mean"])


def _add_series(
    figure: go.Figure,
    points: Sequence[Point],
    task: str,
    metric: str,
    cost: str,
    factor: float,
    colour: str,
    place: Mapping[str, int],
) -> None:
    """Draw the models of a task set, joined in the order of lambda; lambda 0 is hollow."""
    found = [(p, xy) for p in points if (xy := _at(p, task, metric, cost)) is not None]
    if not found:
        return
    figure.add_scatter(
        x=[factor * x for _, (x, _) in found],
        y=[y for _, (_, y) in found],
        mode="lines+markers",
        line={"color": colour, "width": 1},
        marker={
            "size": 9,
            "color": ["#ffffff" if not point["lam"] else colour for point, _ in found],
            "line": {"width": 2, "color": colour},
        },
        customdata=[[point["series"], lambda_text(point["lam"]), point["n"]] for point, _ in found],
        hovertemplate="%{customdata[0]}, λ %{customdata[1]}, n = %{customdata[2]}<br>"
        "%{x:.4g}, %{y:.4g}<extra></extra>",
        **place,
    )


def _add_front(
    figure: go.Figure,
    document: Mapping[str, Any],
    points: Sequence[Point],
    task: str,
    metric: str,
    cost: str,
    place: Mapping[str, int],
) -> None:
    higher = document["higher_is_better"].get(metric)
    if higher is None:
        return
    known = [xy for p in points if (xy := _at(p, task, metric, cost)) is not None]
    line = front(known, higher=higher)
    factor = COSTS[cost][1]
    figure.add_scatter(
        x=[factor * x for x, _ in line],
        y=[y for _, y in line],
        mode="lines",
        line={"color": FAINT, "width": 1.2, "dash": "dash", "shape": "hv"},
        hoverinfo="skip",
        **place,
    )
