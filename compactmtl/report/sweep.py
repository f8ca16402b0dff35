"""A sweep as one self-contained page, drawn from its record alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from compactmtl.files import write_text
from compactmtl.report import numbers
from compactmtl.report.candidates import COLOURS, legend
from compactmtl.report.documents import read_document
from compactmtl.report.figures import to_div
from compactmtl.report.html import Html, anchor, facts, h, listing, missing, section, table
from compactmtl.report.lambda_axis import lambda_colours
from compactmtl.report.shell import shell
from compactmtl.report.sweep_charts import (
    SHARES,
    finished,
    metric_chart,
    profile_chart,
    shares_chart,
    time_chart,
)
from compactmtl.report.sweep_layers import layers_chart
from compactmtl.report.sweep_pareto import pareto_chart

RECORD, PAGE = "sweep.json", "sweep.html"

Document = Mapping[str, Any]


def report_sweep(folder: Path, out: Path | None = None) -> Path:
    """Draw the page of a sweep's folder again.

    Raises:
        MissingFileError: There is no record.
        CorruptFileError: It is damaged, or of another format version.
        WriteError: The page cannot be written.
    """
    document = read_document(folder / RECORD, ("series", "timing"))
    return write_page(out or folder / PAGE, document)


def write_page(path: Path, document: Document, title: str = "") -> Path:
    """Write the page of a sweep's record.

    Args:
        path: Where to.
        document: The record.
        title: The page's; "" says which recipe was swept.

    Raises:
        WriteError: It cannot be written.
    """
    of = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(document["series"])}
    sections = {
        "Numbers": _numbers(document),
        "Metrics against λ": _metrics(document, of),
        "Sparsity against λ": _per_series(
            document, shares_chart, "shares", legend(*_share_colours()),
            "Groups, filters and weights of the penalised layers that training left at exactly "
            "zero; and the channels of all layers that the compiler could remove for it.",
        ),
        "Sparsity over epochs": _per_series(
            document, profile_chart, "profile", legend(*_lambda_names(document)),
            "Zero groups after every epoch, a line per run; shaded: the phases of the recipe.",
        ),
        "Channels per layer": _per_series(
            document, layers_chart, "layers", legend(*_lambda_names(document, before=True)),
            "Input channels of every layer: grey before, a line per λ after; means over the seeds.",
            wide=True,
        ),
        "Inference time against λ": _times(document, of),
        "Trade-off of all tasks": _pareto(document, of),
        "Environment": facts(document["environment"]),
    }  # fmt: skip
    names = list(sections)
    done, num = len(finished(document)), len(document["runs"])
    head = h(
        "header",
        h(
            "div",
            h("p", "compactmtl sweep", class_="brand"),
            h("h1", title or f"{document['recipe']}: sweep over λ"),
            h("p", f"{done} of {num} runs are finished; {document['selection']}.", class_="sub"),
        ),
    )
    links = h("nav", *(h("a", name, href=f"#{anchor(name)}") for name in names))
    main = h("main", *(section(name, body) for name, body in sections.items()))
    write_text(path, shell(f"{title or document['recipe']} · compactmtl sweep", head, links, main))
    return path


def first_metrics(document: Document) -> dict[str, str]:
    """Return each task with the metric that ranks it."""
    firsts: dict[str, str] = {}
    for run in finished(document):
        for task, found in run["metrics"].items():
            firsts.setdefault(task, next(iter(found)))
    return firsts


def _numbers(document: Document) -> Html:
    firsts = first_metrics(document)
    columns = ["tasks", "λ", *(f"{t}: {m}" for t, m in firsts.items()), "zero groups"]
    columns += [
        "zero filters",
        "channels removed",
        "MACs",
        "parameters",
        "CPU ms",
        "dense / this",
        "n",
    ]
    rows = []
    for point in document["points"]:
        if not point["n"]:
            continue
        metrics = [point["metrics"].get(t, {}).get(m) for t, m in firsts.items()]
        shares = [point["sparsity"][key] for key in ("groups", "filters", "removed_channels")]
        costs = [point[key]["compact"]["mean"] for key in ("macs", "num_params", "cpu_ms")]
        rows.append(
            [
                point["series"],
                f"{point['lam']:g}",
                *(numbers.metric(None if m is None else m["mean"]) for m in metrics),
                *(numbers.share(None if s is None else s["mean"], 1.0) for s in shares),
                *(form(v) for form, v in zip(_FORMS, costs, strict=True)),
                numbers.ratio(point["speedup"]["mean"]),
                str(point["n"]),
            ]
        )
    failed = [
        f"{run['series']}, λ {run['lam']:g}, seed {run['seed']}: {run['said']}"
        for run in document["runs"]
        if run["status"] != "finished"
    ]
    return h(
        "div",
        table(columns, rows),
        missing(f"{len(failed)} runs are not finished:") if failed else None,
        listing(failed),
    )


_FORMS = (numbers.count, numbers.count, numbers.milliseconds)


def _metrics(document: Document, of: Mapping[str, str]) -> Html:
    charts = [
        _chart(metric_chart(document, task, metric, of), f"metric-{index}")
        for index, (task, metric) in enumerate(first_metrics(document).items())
    ]
    lead = "Test split, last epoch: mean and standard deviation over the seeds, which are the dots."
    return h("div", h("p", lead, class_="lead"), legend(of, of), h("div", *charts, class_="charts"))


def _per_series(
    document: Document, draw: Any, name: str, key: Html, lead: str, *, wide: bool = False
) -> Html:
    charts = [
        _chart(draw(document, series), f"{name}-{index}")
        for index, series in enumerate(document["series"])
    ]
    grid = h("div", *charts, class_=None if wide or len(charts) == 1 else "charts")
    return h("div", h("p", lead, class_="lead"), key, grid)


def _times(document: Document, of: Mapping[str, str]) -> Html:
    timing = document["timing"]
    shape = numbers.anything(next(iter(timing["shapes"].values())))
    lead = (
        f"{timing['runtime']}, {timing['threads']} thread, {shape}, {timing['cpu']}; all models of "
        "a seed in turns in one process. Dotted: the dense twin of each task set."
    )
    noisy = None if timing["verdict"] == "ok" else missing("The machine was busy: times are noisy.")
    return h(
        "div",
        h("p", lead, class_="lead"),
        legend(of, of),
        _chart(time_chart(document, of), "time"),
        noisy,
        listing(timing["why"]),
    )


def _pareto(document: Document, of: Mapping[str, str]) -> Html:
    lead = (
        "One point per task set and λ, mean over the seeds, joined in the order of λ; hollow: λ 0. "
        "Costs are those of the whole network with all the tasks of its set. What is not on the "
        "dashed line is beaten by something on it."
    )
    chart = _chart(pareto_chart(document, first_metrics(document), of), "pareto")
    return h("div", h("p", lead, class_="lead"), legend(of, of), chart)


def _chart(figure: go.Figure, name: str) -> Html:
    return h("div", Html(to_div(figure, name)))


def _share_colours() -> tuple[list[str], dict[str, str]]:
    of = {name: colour for name, colour, _ in SHARES.values()}
    return list(of), of


def _lambda_names(document: Document, *, before: bool = False) -> tuple[list[str], dict[str, str]]:
    of = {"before": "#cbd5e1"} if before else {}
    of |= {f"λ {lam:g}": colour for lam, colour in lambda_colours(document["lams"]).items()}
    return list(of), of
