"""The charts of a report."""

import html
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import plotly.graph_objects as go

Epochs = Sequence[Mapping[str, Any]]
Pairs = Mapping[str, tuple[float, float]]
"""Layer to what it costs before and after; 0 where it is not there."""

INK, FAINT, GRID = "#334155", "#64748b", "#e2e8f0"
BEFORE, AFTER = "#cbd5e1", "#2563eb"
TASK_COLOURS = ("#2563eb", "#0d9488", "#c2410c", "#7c3aed", "#be185d", "#4d7c0f")
PHASE_COLOURS = {
    "overparam": "#f3f0fe",
    "dense": "#f6f8fa",
    "sparse": "#fdf6dd",
    "debias": "#ebf9ef",
    "overparam-sparse": "#f8edf3",
    "overparam-debias": "#eaf3fb",
}
OTHER_PHASE = "#f6f8fa"
LAYER_AXIS: dict[str, Any] = {
    "type": "category",
    "autorange": "reversed",
    "automargin": True,
    "showgrid": False,
    "tickfont": {"size": 11},
}
"""Names of layers from top to bottom."""
LAYER_HEIGHT_PX = 26
_TICKS = [step * 10.0**power for power in range(-6, 7) for step in (1, 2, 5)]
LOG_TICKS = {
    "type": "log",
    "tickmode": "array",
    "tickvals": _TICKS,
    "ticktext": [f"{tick:g}" for tick in _TICKS],
}


def to_div(figure: go.Figure, name: str) -> str:
    """Return a chart as an HTML fragment; the page carries plotly's script once."""
    text: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        config={"displaylogo": False, "responsive": True, "displayModeBar": False},
    )
    return text


def loss_curves(epochs: Epochs) -> go.Figure:
    """Draw each task's training loss per epoch."""
    figure = new_figure("Training loss", log_y=True)
    for index, task in enumerate(_names(epochs, "loss")):
        _line(figure, epochs, [row.get("loss", {}).get(task) for row in epochs], task, index)
    shade_phases(figure, epochs)
    return figure


def metric_curve(
    epochs: Epochs,
    task: str,
    metric: str,
    *,
    index: int,
    baseline: float | None,
    better: str | None,
) -> go.Figure:
    """Draw one metric of one task per epoch, with the constant predictor as a dashed line.

    Args:
        epochs: Rows of the log.
        task: Name of the task.
        metric: Name of the metric.
        index: Which colour.
        baseline: What the best constant predictor reaches.
        better: An arrow that says where better is, or nothing.
    """
    figure = new_figure(f"{task}: {metric} {better}")
    values = [row.get("val", {}).get(task, {}).get(metric) for row in epochs]
    _line(figure, epochs, values, metric, index)
    if baseline is not None:
        figure.add_hline(
            y=baseline,
            line={"color": INK, "width": 1, "dash": "dash"},
            annotation={"text": "constant predictor", "font": {"size": 11, "color": INK}},
        )
    shade_phases(figure, epochs, named=False)
    figure.update_layout(showlegend=False, height=230, margin={"t": 46})
    return figure


def sparsity_curve(epochs: Epochs) -> go.Figure:
    """Draw the share of zero groups, and the penalty's strength on a second axis."""
    figure = new_figure("Group sparsity")
    share = [_share(row.get("sparsity") or {}) for row in epochs]
    _line(figure, epochs, share, "zero groups, %", 0)
    lam = [row.get("lam") for row in epochs]
    _line(figure, epochs, lam, "λ", 2, axis="y2", dash="dot")
    figure.update_layout(
        yaxis={"range": [0, 100], "ticksuffix": " %"},
        yaxis2={
            "overlaying": "y",
            "tickmode": "auto",
            "tickformat": ".2g",
            "nticks": 5,
            "side": "right",
            "showgrid": False,
            "rangemode": "tozero",
        },
    )
    figure.update_layout(margin={"r": 48})
    shade_phases(figure, epochs)
    return figure


def layer_bars(layers: Sequence[Mapping[str, Any]], side: str) -> go.Figure:
    """Draw channels before and after, one horizontal bar per layer.

    Args:
        layers: Rows of ``report.json``.
        side: "in" or "out".
    """
    return pair_bars(
        "Input channels" if side == "in" else "Output channels",
        {str(row["name"]): (row[f"{side}_before"], row[f"{side}_after"]) for row in layers},
        str,
        names=("before", "after"),
        hover="%{x} of %{customdata} left",
        room=1.3,
    )


def pair_bars(
    title: str,
    pairs: Pairs,
    form: Callable[[Any], str],
    *,
    names: tuple[str, str] = ("dense", "compact"),
    hover: str = "%{x:.4s} of %{customdata:.4s}",
    room: float = 1.5,
) -> go.Figure:
    """Draw a bar after over a bar before for each layer.

    Args:
        title: What is drawn.
        pairs: Layer to its values before and after, from top to bottom.
        form: Writes a value as text.
        names: Of the bars before and after, in the legend.
        hover: What the bar after says of itself (``x``) and of the one before (``customdata``).
        room: Length of the axis over the longest bar; numbers stand behind the bars.
    """
    layers = [html.escape(name) for name in pairs]
    before, after = ([pair[index] for pair in pairs.values()] for index in (0, 1))
    figure = new_figure(title)
    figure.add_bar(
        y=layers,
        x=before,
        orientation="h",
        name=names[0],
        marker_color=BEFORE,
        hoverinfo="skip",
        text=[f"{form(new)} / {form(old)}" for old, new in pairs.values()],
        textposition="outside",
        textfont={"size": 10, "color": FAINT},
        cliponaxis=False,
    )
    figure.add_bar(
        y=layers,
        x=after,
        orientation="h",
        name=names[1],
        marker_color=AFTER,
        customdata=before,
        hovertemplate="%{y}<br>" + hover + "<extra></extra>",
    )
    figure.update_layout(
        barmode="overlay",
        margin={"t": 56},
        bargap=0.35,
        height=120 + LAYER_HEIGHT_PX * len(layers),
        hovermode="closest",
        yaxis=LAYER_AXIS,
        xaxis={"range": [0, room * max((*before, *after), default=1)], "nticks": 5},
    )
    return figure


def new_figure(title: str, *, log_y: bool = False) -> go.Figure:
    """Return an empty chart in the style of the page."""
    font = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "color": INK}
    vertical = LOG_TICKS if log_y else {"type": "linear"}
    figure = go.Figure()
    figure.update_layout(
        template="none",
        title={
            "text": html.escape(title),
            "font": {"size": 14, "weight": 600},
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 0.97,
            "yref": "container",
            "yanchor": "top",
        },
        font={"size": 12, **font},
        height=280,
        margin={"l": 48, "r": 12, "t": 70, "b": 32},
        hovermode="x unified",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={
            "orientation": "h",
            "x": 1,
            "xanchor": "right",
            "y": 0.985,
            "yref": "container",
            "yanchor": "top",
        },
        xaxis={"gridcolor": GRID, "zeroline": False, "linecolor": GRID},
        yaxis={"gridcolor": GRID, "zeroline": False, **vertical},
    )
    return figure


def _line(
    figure: go.Figure,
    epochs: Epochs,
    values: Sequence[float | None],
    name: str,
    index: int,
    *,
    axis: str = "y",
    dash: str = "solid",
) -> None:
    colour = TASK_COLOURS[index % len(TASK_COLOURS)]
    figure.add_scatter(
        x=[row["epoch"] for row in epochs],
        y=values,
        name=html.escape(name),
        mode="lines+markers" if len(epochs) < 40 else "lines",
        line={"color": colour, "width": 2, "dash": dash},
        marker={"size": 4},
        yaxis=axis,
        hovertemplate="%{y:.4g}",
    )


def button_row(buttons: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a row of buttons above a figure, as one of its ``updatemenus``."""
    return {
        "type": "buttons",
        "direction": "right",
        "x": 0,
        "xanchor": "left",
        "y": 1.02,
        "yanchor": "bottom",
        "pad": {"t": 0, "b": 4},
        "font": {"size": 11, "color": FAINT},
        "bordercolor": "#e2e8f0",
        "showactive": True,
        "buttons": list(buttons),
    }


def shade_phases(figure: go.Figure, epochs: Epochs, *, named: bool = True) -> None:
    """Shade each phase and write its name at the top."""
    if not epochs:
        return
    for phase, rows in groupby(epochs, key=lambda row: str(row.get("phase", ""))):
        numbers = [row["epoch"] for row in rows]
        figure.add_vrect(
            x0=numbers[0] - 0.5,
            x1=numbers[-1] + 0.5,
            fillcolor=PHASE_COLOURS.get(phase, OTHER_PHASE),
            line_width=0,
            layer="below",
            annotation={
                "text": html.escape(phase) if named else "",
                "font": {"size": 10, "color": FAINT},
                "yanchor": "bottom",
            },
            annotation_position="top left",
        )
    figure.update_xaxes(range=[epochs[0]["epoch"] - 0.5, epochs[-1]["epoch"] + 0.5])


def _names(epochs: Epochs, key: str) -> list[str]:
    return list(dict.fromkeys(name for row in epochs for name in row.get(key, {})))


def _share(sparsity: Mapping[str, Any]) -> float | None:
    total = sparsity.get("num_groups")
    return 100.0 * sparsity.get("zero_groups", 0) / total if total else None
