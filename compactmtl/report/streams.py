"""The residual streams: which layers write and which read each channel."""

import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from compactmtl.channel_runs import from_runs
from compactmtl.report import numbers
from compactmtl.report.collect import Record
from compactmtl.report.figures import FAINT, LAYER_AXIS, new_figure, to_div
from compactmtl.report.html import Html, h, missing, section

TITLE = "Residual streams"
CELLS = {
    "removed": "#eef2f6",
    "stored, not used by this layer": "#cbd5e1",
    "read": "#2563eb",
    "written": "#d97706",
    "read or written without need": "#b91c1c",
}
"""What a cell says, and its colour; colours apart in lightness too."""
REMOVED, STORED, READ, WRITTEN, IDLE = range(len(CELLS))
ROW_PX, MIN_PX = 22, 90
Grid = npt.NDArray[np.int8]


def streams_section(record: Record) -> Html:
    """Return one map per residual stream."""
    if record.why is None:
        return section(TITLE, missing("This folder has no why.json.", "compactmtl compress"))
    found = record.why.get("streams") or []
    if not found:
        return section(TITLE, h("p", "None: no layers add up into one tensor.", class_="dim"))
    legend = [h("li", h("i", style=f"background: {c}"), name) for name, c in CELLS.items()]
    maps = [
        part
        for index, stream in enumerate(found)
        for part in (
            h("h3", str(stream["name"])),
            h("p", _sentence(stream), class_="notes"),
            h("div", Html(to_div(stream_map(stream), f"stream-{index}"))),
        )
    ]
    return section(
        TITLE,
        h("ul", *legend, class_="legend"),
        *maps,
        h("p", "Why a channel is there:", Html(" "), h("code", "compactmtl inspect --why LAYER"),
          class_="notes"),
        lead="Layers that add into one tensor share its channels, so a channel can go only where "
        "no layer of the whole stream reads it. Each column is a channel, those that most layers "
        "read first; each row is a layer, in the order of the network.",
    )  # fmt: skip


def stream_map(stream: Mapping[str, Any]) -> go.Figure:
    """Draw a stream: a row per layer, a column per channel."""
    grid = cells(stream)
    order = np.lexsort((*reversed(list(-(grid == READ).astype(int))), -_reads(grid)))
    if not (grid != REMOVED).all():  # what is gone stands at the end
        order = np.concatenate([order[~_gone(grid)[order]], order[_gone(grid)[order]]])
    rows = [
        f"{html.escape(str(row['layer']))}  {_verb(row)} {_count(row)}" for row in stream["rows"]
    ]
    colours = list(CELLS.values())
    steps = len(colours)
    figure = new_figure("")
    figure.add_heatmap(
        z=grid[:, order],
        y=[f"{index + 1}  {name}" for index, name in enumerate(rows)],
        customdata=np.broadcast_to(order.astype(np.int16), grid.shape),
        zmin=-0.5,
        zmax=steps - 0.5,
        colorscale=[
            [(index + edge) / steps, colour]
            for index, colour in enumerate(colours)
            for edge in (0, 1)
        ],
        showscale=False,
        ygap=2,
        hovertemplate="%{y}<br>channel %{customdata}<extra></extra>",
    )
    figure.update_layout(
        height=MIN_PX + ROW_PX * len(rows),
        margin={"t": 6, "b": 44},
        hovermode="closest",
        yaxis=LAYER_AXIS,
        xaxis={
            "title": {"text": "channels, those that most layers read first", "font": {"size": 11}},
            "showgrid": False,
            "tickfont": {"size": 11, "color": FAINT},
        },
    )
    return figure


def cells(stream: Mapping[str, Any]) -> Grid:
    """Return what each layer (rows) does with each channel (columns)."""
    grid = np.zeros((len(stream["rows"]), stream["num_channels"]), dtype=np.int8)
    grid[:, from_runs(stream["stored"])] = STORED
    for cell, row in zip(grid, stream["rows"], strict=True):
        cell[from_runs(row["channels"])] = READ if row["does"] == "read" else WRITTEN
        cell[from_runs(row["idle"])] = IDLE
    return grid


def _sentence(stream: Mapping[str, Any]) -> str:
    grid = cells(stream)
    stored = int((~_gone(grid)).sum())
    reads = _reads(grid)[~_gone(grid)]
    single = int((reads == 1).sum())
    kept = f"{numbers.count(stored)} of {numbers.count(grid.shape[1])} channels are stored"
    return f"{kept}; {numbers.count(single)} of them are there for one layer alone."


def _gone(grid: Grid) -> npt.NDArray[np.bool_]:
    gone: npt.NDArray[np.bool_] = (grid == REMOVED).all(0)
    return gone


def _reads(grid: Grid) -> npt.NDArray[np.int_]:
    reads: npt.NDArray[np.int_] = (grid == READ).sum(0)
    return reads


def _verb(row: Mapping[str, Any]) -> str:
    return "reads" if row["does"] == "read" else "writes"


def _count(row: Mapping[str, Any]) -> int:
    return len(from_runs(row["channels"]))
