"""Channels of every layer before and after, for each lambda: paper B, figure 3."""

import html
import statistics
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from compactmtl.report.figures import BEFORE, button_row, new_figure
from compactmtl.report.lambda_axis import lambda_colours, lambda_text
from compactmtl.report.sweep_charts import finished

VIEWS = {"nonzero": "non-zero after training", "compiled": "read after compiling"}


def layers_chart(document: Mapping[str, Any], series: str) -> go.Figure:
    """Draw the input channels of each layer, grey before, a stepped line per lambda after.

    Buttons choose what is counted: channels that training left non-zero, as the paper does, or
    those that the compiled layer still reads. Means over the seeds.
    """
    runs = [run for run in finished(document) if run["series"] == series]
    names = [layer["name"] for layer in runs[0]["layers"]] if runs else []
    figure = new_figure(series)
    figure.add_bar(
        x=[html.escape(name) for name in names],
        y=[layer["channels"] for layer in runs[0]["layers"]] if runs else [],
        name="before",
        marker_color=BEFORE,
        hovertemplate="%{x}: %{y} before<extra></extra>",
    )
    colours = lambda_colours(document["lams"])
    shown = []
    for view in VIEWS:
        for lam in document["lams"]:
            own = [run["layers"] for run in runs if run["lam"] == lam]
            if not own:
                continue
            shown.append(view)
            figure.add_scatter(
                x=[html.escape(name) for name in names],
                y=[
                    statistics.fmean(layer[view] for layer in each)
                    for each in zip(*own, strict=True)
                ],
                mode="lines+markers",
                line={"color": colours[lam], "width": 1.5, "shape": "hvh"},
                marker={"size": 4},
                name=f"λ {lambda_text(lam)}",
                hovertemplate=f"%{{x}}, λ {lambda_text(lam)}: %{{y:.4g}}<extra></extra>",
                visible=view == "nonzero",
            )
    figure.update_layout(
        showlegend=False,
        height=460,
        bargap=0.25,
        hovermode="closest",
        margin={"l": 60, "t": 74},
        xaxis={"type": "category", "tickangle": -60, "automargin": True, "dtick": 1,
               "tickfont": {"size": 10 if len(names) < 45 else 8}, "showgrid": False},
        yaxis={"title": {"text": "input channels", "font": {"size": 11}}, "rangemode": "tozero"},
        updatemenus=[_buttons(shown)],
    )  # fmt: skip
    return figure


def _buttons(shown: list[str]) -> dict[str, Any]:
    return button_row(
        [
            {
                "label": text,
                "method": "update",
                "args": [{"visible": [True, *(each == view for each in shown)]}],
            }
            for view, text in VIEWS.items()
        ]
    )
