"""The part of a paired study's page that says what accuracy costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from compactmtl.report.figures import INK, TASK_COLOURS, new_figure, to_div
from compactmtl.report.html import Html, join, section, table

Document = Mapping[str, Any]
COSTS = {
    "macs": ("MACs, M", 1e-6),
    "macs_share": ("of all, %", 100.0),
    "num_params": ("parameters, k", 1e-3),
    "zero_groups": ("zero groups, %", 100.0),
    "zero_filters": ("zero filters, %", 100.0),
    "removable_channels": ("removable channels, %", 100.0),
}
"""What is shown of a subject's costs: heading and factor."""

BESIDE = {
    "orientation": "v", "x": 1.02, "xanchor": "left", "y": 1, "yref": "paper", "yanchor": "top",
}  # fmt: skip
"""Where a legend of many long labels is in no title's way."""


def cost_values(found: Mapping[str, Any]) -> list[float | None]:
    """Return a subject's mean costs in the order and the units of ``COSTS``."""
    return [
        found[name]["mean"] * factor if name in found else None
        for name, (_, factor) in COSTS.items()
    ]


def cost_section(document: Document, firsts: Sequence[Document]) -> Html | None:
    """Return what subjects cost, and a chart per task against it; None where none was compiled.

    Args:
        document: The study's record.
        firsts: The row of each task's first metric.
    """
    found = document["costs"]
    if not found:
        return None
    rows = [
        [label, str(len(costs["macs"]["values"])), *map(_text, cost_values(costs))]
        for label, costs in found.items()
    ]
    charts = [
        Html(to_div(against_macs(row, found), f"cost-{index}")) for index, row in enumerate(firsts)
    ]
    return section(
        "What they cost",
        table(("recipe", "n", *(heading for heading, _ in COSTS.values())), rows),
        join(charts),
        lead="Means over seeds, compiled. Zero groups are input channels that a layer does not "
        "read, zero filters are outputs that it does not make, removable is what the compiler can "
        "drop: three different numbers, of the whole network. A control at surviving widths is "
        "dense.",
    )


def against_macs(row: Document, costs: Mapping[str, Any]) -> go.Figure:
    """Draw a metric's mean against the multiplications, with the deviations over seeds."""
    figure = new_figure(f"{row['task']}: {row['metric']} against MACs")
    for index, label in enumerate(label for label in costs if label in row["cells"]):
        cell, macs = row["cells"][label], costs[label]["macs"]
        figure.add_scatter(
            x=[macs["mean"] / 1e6],
            y=[cell["mean"]],
            error_x={"array": [(macs["std"] or 0.0) / 1e6], "thickness": 1},
            error_y={"array": [cell["std"] or 0.0], "thickness": 1},
            mode="markers",
            marker={
                "size": 10,
                "color": TASK_COLOURS[index % len(TASK_COLOURS)],
                "symbol": index // len(TASK_COLOURS),
                "line": {"width": 1, "color": INK},
            },
            name=label,
        )
    figure.update_xaxes(title="MACs, M", rangemode="tozero")
    figure.update_layout(margin={"t": 40}, legend=BESIDE)
    return figure


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
