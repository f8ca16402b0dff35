"""A paired study as one self-contained page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from compactmtl.files import write_text
from compactmtl.report.compare_costs import cost_section
from compactmtl.report.figures import FAINT, TASK_COLOURS, new_figure, to_div
from compactmtl.report.html import Html, h, section, table
from compactmtl.report.style import CSS

Document = Mapping[str, Any]
DIRECTIONS = {True: " More is better.", False: " Less is better.", None: ""}


def write_page(path: Path, document: Document) -> Path:
    """Write the page of a study's record.

    Raises:
        WriteError: It cannot be written.
    """
    labels = list(document["subjects"])
    firsts = first_metrics(document)
    charts = [
        section(
            f"{row['task']}: {row['metric']}",
            Html(to_div(dots(row, labels), f"chart-{index}")),
            lead="One dot per seed, joined where the seed is the same; the bar is the mean."
            + DIRECTIONS[row["higher_is_better"]],
        )
        for index, row in enumerate(firsts)
    ]
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("title", "comparison · compactmtl"),
        h("style", Html(CSS)),
        h("script", Html(get_plotlyjs())),
    )
    counts = ", ".join(f"{label} {n}" for label, n in document["done"].items())
    body = h(
        "body",
        h(
            "main",
            h("h1", "Paired comparison"),
            h("p", f"Test split, last epoch; finished seeds: {counts}.", class_="lead"),
            section("Differences", _differences(document, labels)),
            cost_section(document, firsts),
            *charts,
        ),
    )
    write_text(path, "<!doctype html>\n" + h("html", head, body, lang="en"))
    return path


def first_metrics(document: Document) -> list[Document]:
    """Return the first metric of each task, by which the task is ranked."""
    firsts: dict[str, Document] = {}
    for row in document["test"]:
        firsts.setdefault(row["task"], row)
    return list(firsts.values())


def dots(row: Document, labels: list[str]) -> go.Figure:
    """Draw a metric's values by recipe, seeds joined by lines, with the mean as a bar."""
    figure = new_figure("")
    shown = [label for label in labels if label in row["cells"]]
    num = max((len(row["cells"][label]["values"]) for label in shown), default=0)
    for seed in range(num):
        values = [
            (label, row["cells"][label]["values"][seed])
            for label in shown
            if seed < len(row["cells"][label]["values"])
        ]
        figure.add_scatter(
            x=[label for label, _ in values],
            y=[value for _, value in values],
            mode="lines+markers",
            line={"color": FAINT, "width": 0.6},
            marker={"size": 9, "color": TASK_COLOURS[seed % len(TASK_COLOURS)]},
            name=f"seed {seed}",
            showlegend=False,
        )
    figure.add_scatter(
        x=shown,
        y=[row["cells"][label]["mean"] for label in shown],
        mode="markers",
        marker={"symbol": "line-ew-open", "size": 34, "line": {"width": 3}, "color": "#334155"},
        name="mean",
        showlegend=False,
    )
    figure.update_xaxes(type="category")
    return figure


def _differences(document: Document, labels: list[str]) -> Html:
    rows = []
    for row in document["test"]:
        for label, found in row["differences"].items():
            se = "-" if found["se"] is None else f"{found['se']:.2g}"
            rows.append(
                [
                    f"{row['task']}: {row['metric']}",
                    label,
                    f"{row['cells'][label]['mean']:.4g}",
                    f"{found['mean']:+.3g}",
                    se,
                    str(found["n"]),
                    found["verdict"],
                ]
            )
    columns = ("metric", "recipe", "mean", f"minus {labels[0]}", "std error", "pairs", "verdict")
    return table(columns, rows, class_="text")
