"""How the times of each candidate are spread."""

import html
from collections.abc import Sequence

import plotly.graph_objects as go

from compactmtl.report.candidates import Candidates, colours
from compactmtl.report.figures import LAYER_AXIS, new_figure, to_div
from compactmtl.report.html import Html, h

ROW_PX, FRAME_PX = 64, 100
SENTENCE = (
    "Each hill shows how often a latency occurred, the box its middle half: a narrow hill is a "
    "latency you can count on, a long tail to the right is what a camera would notice."
)


def latency_chart(candidates: Candidates) -> Html:
    """Return the distribution of every candidate's wall time, with a sentence on how to read it."""
    times = {name: each["times_ms"]["wall"] for name, each in candidates.items()}
    end = 1.3 * max(each["latency_ms"]["p95"] for each in candidates.values())
    beyond = sum(time > end for each in times.values() for time in each)
    tail = f" {beyond} of {sum(map(len, times.values()))} runs lie beyond the right edge."
    return h(
        "div",
        Html(to_div(distributions(times, end), "latency")),
        h("p", SENTENCE + (tail if beyond else ""), class_="notes"),
    )


def distributions(times: dict[str, Sequence[float]], end: float) -> go.Figure:
    """Draw half a violin per candidate, from zero to ``end`` ms."""
    figure = new_figure("Latency of single inferences, ms")
    of = colours(times)
    for name, values in times.items():
        label = html.escape(name)
        figure.add_violin(
            x=[round(value, 4) for value in values],
            y=[label] * len(values),
            orientation="h",
            side="negative",  # upwards: the axis runs downwards
            width=1.4,
            points=False,
            box={"visible": True, "width": 0.12},
            spanmode="hard",
            line={"color": of[name], "width": 1.5},
            hoveron="violins",
            name=label,
        )
    figure.update_layout(
        height=FRAME_PX + ROW_PX * len(times),
        showlegend=False,
        hovermode="closest",
        margin={"t": 46, "b": 40},
        violingap=0,
        yaxis=LAYER_AXIS,
        xaxis={"range": [0, end]},
    )
    return figure
