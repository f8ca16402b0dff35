"""Sections on how the model came about: training curves, lineage, environment."""

from collections.abc import Mapping
from typing import Any

from compactmtl.lineage import MODEL, PARTS, is_network
from compactmtl.report import figures, numbers
from compactmtl.report.collect import Record
from compactmtl.report.html import Html, facts, h, listing, missing, section
from compactmtl.report.samples import Predictions

HASH_DIGITS = 16


def training_section(record: Record, predictions: Predictions) -> Html:
    """Return the curves of the run."""
    title = "Training"
    if record.run is None:
        sentence = "No run folder goes with this model. Name it:"
        return section(title, missing(sentence, "compactmtl report --run RUN"))
    epochs = record.run.epochs
    if not epochs:
        return section(title, missing(f"The log of run {record.run.name} holds no epoch."))
    overview = [figures.to_div(figures.loss_curves(epochs), "curve-loss")]
    if any(row.get("sparsity") for row in epochs):
        overview.append(figures.to_div(figures.sparsity_curve(epochs), "curve-sparsity"))
    names = dict.fromkeys(task for row in epochs for task in row.get("val", {}))
    metrics = [
        _metric_chart(record.run.summary, epochs, predictions, task, index)
        for index, task in enumerate(names)
    ]
    seconds = sum(float(row.get("seconds") or 0.0) for row in epochs)
    lead = (
        f"{len(epochs)} epochs in {_duration(seconds)}, seed {record.run.summary.get('seed')}, "
        f"status {record.run.summary.get('status')}. Shaded: the phases of the recipe."
    )
    check = record.run.summary.get("check")
    missed = [str(text) for text in check.get("missed", ())] if isinstance(check, Mapping) else []
    return section(
        title,
        h("div", *(h("div", Html(chart)) for chart in overview), class_="charts"),
        h("div", *(h("div", Html(chart)) for chart in metrics), class_="charts three"),
        listing(missed),
        lead=lead,
    )


def origin_section(record: Record) -> Html:
    """Return the chain of files, what is left out of it, and the recipe."""
    source = record.compress["source"]
    links = [
        (str(source.get("file")), str(source.get("sha256") or "unknown")),
        (PARTS if is_network(record.folder) else MODEL, record.model_sha256),
        *((artefact.path.name, artefact.sha256) for artefact in record.artefacts),
    ]
    chain = h(
        "ol",
        *(
            h("li", h("span", name), h("code", f"sha256 {sha[:HASH_DIGITS]}"))
            for name, sha in links
        ),
        class_="chain",
    )
    parts: list[Html | None] = [chain]
    if record.left_out:
        parts += [h("h3", "Left out"), listing(record.left_out)]
    if record.run is not None:
        text = h("pre", record.run.recipe_text)
        parts.append(h("details", h("summary", "The recipe"), text))
    return section(
        "Origin", *parts, lead="Each file names the SHA-256 of the one it was made from."
    )


def environment_section(record: Record) -> Html:
    """Return what the numbers were made on."""
    tables = (
        ("Bench", record.bench.get("environment") if record.bench else None),
        ("Compiler", record.compress.get("environment")),
        ("Training", record.run.summary.get("environment") if record.run else None),
    )
    parts: list[Html] = []
    shown: list[tuple[str, Any]] = []
    for name, environment in tables:
        if not environment:
            continue
        same = next((other for other, seen in shown if _stable(seen) == _stable(environment)), None)
        parts.append(h("h3", name))
        parts.append(
            h("p", f"As for {other_name(same)}.", class_="dim") if same else facts(environment)
        )
        shown.append((name, environment))
    return section("Environment", *parts)


def other_name(name: str) -> str:
    """Return a table's name inside a sentence."""
    return f"the {name.lower()}" if name != "Training" else "training"


def _metric_chart(
    summary: Mapping[str, Any],
    epochs: figures.Epochs,
    predictions: Predictions,
    task: str,
    index: int,
) -> str:
    names = list(next(row["val"][task] for row in epochs if task in row.get("val", {})))
    known = predictions.tasks.get(task)
    metric = known.primary if known is not None else names[0]
    baseline = (summary.get("baseline") or {}).get(task, {}).get(metric)
    better = "" if known is None else (numbers.UP if known.higher_is_better else numbers.DOWN)
    figure = figures.metric_curve(
        epochs, task, metric, index=index, baseline=baseline, better=better
    )
    return figures.to_div(figure, f"curve-task-{index}")


def _stable(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return an environment without what changes from minute to minute."""
    return {key: value for key, value in environment.items() if key != "load_average"}


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{numbers.milliseconds(seconds)} s"
    return f"{seconds / 60:.0f} min"
