"""What each artefact costs against how well it does its tasks."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from compactmtl.report import numbers
from compactmtl.report.candidates import colours, energy_mj, legend
from compactmtl.report.collect import Record
from compactmtl.report.figures import FAINT, button_row, new_figure, to_div
from compactmtl.report.html import Html, h, missing, section
from compactmtl.report.samples import Predictions
from compactmtl.report.scores import Scores, find_scores

TITLE = "Trade-off"
LEAD = (
    "Each dot is one artefact: to the left is cheaper, and the arrow says where a metric is "
    "better. Whatever is not on the dashed line is beaten by something on it."
)
Point = tuple[float, float]


def tradeoff_section(record: Record, predictions: Predictions) -> Html:
    """Return one chart per task: its metric against latency, MACs and energy."""
    if record.bench is None:
        return section(TITLE, missing("Nothing was measured yet.", "compactmtl bench"))
    scores = find_scores(record, predictions)
    if scores is None:
        sentence = "Fewer than two measured artefacts have a metric. Score them on labelled data:"
        return section(TITLE, missing(sentence, f"compactmtl evaluate {record.folder.name}"))
    costs = costs_of(record.bench, scores)
    names = [name for name in record.bench["candidates"] if name in scores.metrics]
    without = [name for name in record.bench["candidates"] if name not in scores.metrics]
    tasks = list(dict.fromkeys(task for each in scores.metrics.values() for task in each))
    charts = [
        h("div", Html(to_div(task_chart(task, scores, costs), f"tradeoff-{index}")))
        for index, task in enumerate(tasks)
    ]
    command = f"compactmtl evaluate {record.folder.name}"
    return section(
        TITLE,
        legend(names, colours(record.bench["candidates"])),
        h("div", *charts, class_="charts three"),
        h("p", scores.source, class_="notes"),
        missing(f"Without a metric: {', '.join(without)}.", command) if without else None,
        lead=LEAD,
    )


def costs_of(bench: Mapping[str, Any], scores: Scores) -> dict[str, dict[str, float]]:
    """Return each kind of cost by candidate, for those that have a metric; unknown ones are absent.

    Args:
        bench: The record.
        scores: Who has a metric.
    """
    candidates = {n: each for n, each in bench["candidates"].items() if n in scores.metrics}
    kinds: dict[str, dict[str, float | None]] = {
        "latency p50, ms": {n: each["latency_ms"]["p50"] for n, each in candidates.items()},
        "GMACs": {n: (each["macs"] or 0) / 1e9 or None for n, each in candidates.items()},
        "energy, mJ": {n: energy_mj(bench, n) for n in candidates},
    }
    known = {
        kind: {n: value for n, value in values.items() if value is not None}
        for kind, values in kinds.items()
    }
    return {kind: values for kind, values in known.items() if values}


def task_chart(task: str, scores: Scores, costs: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Draw a task's metric against one cost at a time; buttons choose which."""
    values = {n: each[task] for n, each in scores.metrics.items() if each.get(task)}
    metric = next(iter(next(iter(values.values()))))
    higher = scores.higher_is_better.get(task)
    arrow = "" if higher is None else f" {numbers.UP if higher else numbers.DOWN}"
    figure = new_figure(f"{task}: {metric}{arrow}")
    of = colours(next(iter(costs.values())))
    shown: list[str] = []
    for kind, cost in costs.items():
        points = {
            n: (x, values[n][metric])
            for n, x in cost.items()
            if isinstance(values.get(n, {}).get(metric), int | float)
        }
        if higher is not None:
            _add_front(figure, list(points.values()), higher=higher)
            shown.append(kind)
        for name, (x, y) in points.items():
            figure.add_scatter(
                x=[x],
                y=[y],
                mode="markers",
                marker={"size": 11, "color": of[name], "line": {"width": 1, "color": "#ffffff"}},
                hovertemplate=f"{html.escape(name)}<br>{kind}: %{{x:.4g}}<br>"
                f"{html.escape(metric)}: %{{y:.4g}}<extra></extra>",
            )
            shown.append(kind)
    first = next(iter(costs))
    for trace, kind in zip(figure.data, shown, strict=True):
        trace.visible = kind == first
    figure.update_layout(
        height=290,
        showlegend=False,
        hovermode="closest",
        margin={"t": 78, "b": 44},
        xaxis={"rangemode": "tozero", "title": _axis(first)},
        yaxis={"range": _range([each.get(metric) for each in values.values()])},
        updatemenus=[_buttons(list(costs), shown)] if len(costs) > 1 else [],
    )
    return figure


def front(points: Sequence[Point], *, higher: bool) -> list[Point]:
    """Return the points that no other one beats: none is cheaper and at least as good, or better.

    Args:
        points: Cost and metric.
        higher: Whether a higher metric is better.
    """
    sign = -1 if higher else 1
    kept: list[Point] = []
    for x, y in sorted(set(points), key=lambda point: (point[0], sign * point[1])):
        if not kept or sign * y < sign * kept[-1][1]:
            kept.append((x, y))
    return kept


def _add_front(figure: go.Figure, points: Sequence[Point], *, higher: bool) -> None:
    line = front(points, higher=higher)
    figure.add_scatter(
        x=[x for x, _ in line],
        y=[y for _, y in line],
        mode="lines",
        line={"color": FAINT, "width": 1, "dash": "dash", "shape": "hv"},
        hoverinfo="skip",
    )


def _range(values: Sequence[float | None]) -> list[float]:
    """Return an axis on which differences far below a percent look as small as they are."""
    known = [value for value in values if isinstance(value, int | float)] or [0.0]
    low, high = min(known), max(known)
    margin = max(0.12 * (high - low), 0.01 * max(abs(low), abs(high)))
    return [low - margin, high + margin]


def _buttons(kinds: Sequence[str], shown: Sequence[str]) -> dict[str, Any]:
    return button_row(
        [
            {
                "label": kind.partition(",")[0].partition(" ")[0],
                "method": "update",
                "args": [
                    {"visible": [each == kind for each in shown]},
                    {"xaxis.title": _axis(kind)},
                ],
            }
            for kind in kinds
        ]
    )


def _axis(kind: str) -> dict[str, Any]:
    return {"text": kind, "font": {"size": 11}}
