"""Layers below the roof of the machine."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from compactmtl.bench.limits import Roofline, Row
from compactmtl.report import numbers
from compactmtl.report.candidates import colours
from compactmtl.report.collect import Record
from compactmtl.report.figures import (
    AFTER,
    BEFORE,
    FAINT,
    INK,
    LAYER_AXIS,
    LOG_TICKS,
    new_figure,
    to_div,
)
from compactmtl.report.html import Html, h, listing, missing, section

TITLE = "Roofline"
NUM_BARS = 14
INTEGER = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger")
"""How the names of kernels begin that compute in integers."""
LEAST_PX, MOST_PX = 6, 26
ROOF = (
    "Each dot is a layer, the larger the more time it takes; the lines are what this machine "
    "attains in the same runtime. Dots far below the lines waste time; dots below the slopes wait "
    "for memory, dots below the flat part for arithmetic. A dot above it skips padding, which MACs "
    "count as data."
)
BARS = (
    "Where the time of the compact model goes. Blue could not be faster on this machine; grey is "
    "what still holds the latency back."
)


def roofline_section(record: Record) -> Html:
    """Return the roof with its layers, and what loses most time below it."""
    found = (record.bench or {}).get("roofline")
    if not found or not found["artefacts"]:
        sentence = "How close is each layer to what this machine can do? Measure it:"
        return section(TITLE, missing(sentence, "compactmtl bench --roofline"))
    artefacts: Mapping[str, Any] = found["artefacts"]
    shown = [name for name in ("dense", "compact") if name in artefacts] or list(artefacts)[:2]
    last = shown[-1]
    return section(
        TITLE,
        h(
            "div",
            _chart(roof(found["machine"], {n: artefacts[n] for n in shown}), "roof", ROOF),
            _chart(
                bars(artefacts[last]["rows"]), "roof-bars", BARS.replace("the compact model", last)
            ),
            class_="charts",
        ),
        h("p", _machine(found["machine"]), class_="notes"),
        listing(
            [
                *(f"{name}: {why}." for name, why in found["left_out"].items()),
                *(f"{n}: {remark}." for n in shown if (remark := _remark(artefacts[n]))),
            ]
        ),
        lead="Times per layer come from ONNX Runtime's profiler, in runs of their own; the faster "
        "half counts.",
    )


def _chart(figure: go.Figure, name: str, sentence: str) -> Html:
    return h("div", Html(to_div(figure, name)), h("p", sentence, class_="notes"))


def roof(machine: Mapping[str, Any], artefacts: Mapping[str, Any]) -> go.Figure:
    """Draw layers by arithmetic intensity and attained rate, on logarithmic axes."""
    figure = new_figure("Attained rate, GMAC/s")
    layers = {
        name: [
            row
            for row in each["rows"]
            # Zeros have no place on logarithmic axes.
            if row["kind"] == "layer" and row["macs"] and row["num_bytes"] and row["measured_us"]
        ]
        for name, each in artefacts.items()
    }
    every = [row for rows in layers.values() for row in rows]
    intensities = [row["macs"] / row["num_bytes"] for row in every]
    low, high = min(intensities, default=0.1) / 2, max(intensities, default=100) * 2
    in_integers = any(row["op"].startswith(INTEGER) for row in every)
    peak = (machine["integer_gmacs"] if in_integers else None) or machine["peak_gmacs"]
    for kind, height in (("float32", machine["peak_gmacs"]), ("int8", peak)):
        if kind == "float32" or height > machine["peak_gmacs"]:
            _line(figure, [low, high], [height, height], f"peak in {kind}", INK)
    rates = [rate for _, rate in machine["bandwidths"]]
    for place, rate in (("caches", max(rates)), ("memory", rates[-1])):
        end = min(high, peak / rate)
        if end > low:
            slope = [low * rate, end * rate]
            _line(figure, [low, end], slope, f"{rate:.0f} GB/s from {place}", FAINT)
    longest = max((row["measured_us"] for row in every), default=1)
    of = colours(artefacts)
    for name, rows in layers.items():
        figure.add_scatter(
            x=[row["macs"] / row["num_bytes"] for row in rows],
            y=[row["macs"] / row["measured_us"] / 1e3 for row in rows],
            mode="markers",
            name=html.escape(name),
            marker={
                "color": of[name],
                "opacity": 0.75,
                "size": [
                    LEAST_PX + (MOST_PX - LEAST_PX) * (row["measured_us"] / longest) ** 0.5
                    for row in rows
                ],
            },
            text=[
                f"{html.escape(row['name'])}: {row['measured_us']:.0f} us, "
                f"{100 * row['limit_us'] / row['measured_us']:.0f} % of its limit"
                for row in rows
            ],
            hovertemplate="%{text}<extra>" + html.escape(name) + "</extra>",
        )
    figure.update_layout(
        height=430,
        hovermode="closest",
        margin={"t": 60, "b": 48},
        xaxis={
            **LOG_TICKS,
            "title": {"text": "multiply-accumulates per byte moved", "font": {"size": 11}},
        },
        yaxis=LOG_TICKS,
    )
    return figure


def bars(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Draw the rows that lose most time: the limit, and what lies above it."""
    worst = sorted(rows, key=lambda row: row["limit_us"] - row["measured_us"])[:NUM_BARS]
    worst.sort(key=lambda row: -row["measured_us"])
    names = [html.escape(row["name"]) for row in worst]
    limits = [min(row["limit_us"], row["measured_us"]) for row in worst]
    lost = [max(0.0, row["measured_us"] - row["limit_us"]) for row in worst]
    figure = new_figure("Time, us")
    for name, values, colour in (("limit", limits, AFTER), ("above it", lost, BEFORE)):
        figure.add_bar(
            y=names,
            x=values,
            orientation="h",
            name=name,
            marker_color=colour,
            hovertemplate="%{y}<br>" + name + ": %{x:.1f} us<extra></extra>",
        )
    figure.update_layout(
        barmode="stack",
        legend={"traceorder": "normal"},
        bargap=0.35,
        height=430,
        margin={"t": 60, "b": 48},
        hovermode="closest",
        yaxis=LAYER_AXIS,
    )
    return figure


def _line(figure: go.Figure, x: list[float], y: list[float], name: str, colour: str) -> None:
    """Draw a line with its name at the first point."""
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+text",
        line={"color": colour, "width": 1.5},
        text=[html.escape(name), ""],
        textposition="top right",
        textfont={"size": 10, "color": FAINT},
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )


def _remark(artefact: Mapping[str, Any]) -> str:
    return Roofline(tuple(Row(**row) for row in artefact["rows"]), artefact["run_us"]).remark


def _machine(machine: Mapping[str, Any]) -> str:
    integer = machine["integer_gmacs"]
    rates = ", ".join(
        f"{rate:.0f} GB/s for up to {numbers.size(size)}" for size, rate in machine["bandwidths"]
    )
    return (
        f"This machine: {machine['peak_gmacs']:.0f} GMAC/s in float32"
        + (f", {integer:.0f} in int8" if integer else "")
        + f" (FLOPs: twice as many); {rates}. The best of many runs of large convolutions and "
        "additions; on a busy machine the figures are too low, and shares too high."
    )
