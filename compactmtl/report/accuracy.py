"""Sections on what the network predicts: metrics and pictures."""

from collections.abc import Mapping

from compactmtl.report import numbers
from compactmtl.report.collect import Record
from compactmtl.report.html import Html, h, listing, missing, section, table
from compactmtl.report.pictures import data_uri
from compactmtl.report.samples import Metrics, Predictions, Sample, TaskFacts

ROWS = (("truth", "truth"), ("dense", "dense"), ("compact", "compact"))
WIDE = 4
"""From this many tasks on, one sample fills the page's width."""


def metrics_section(record: Record, predictions: Predictions) -> Html:
    """Return the metrics of every stage, per task."""
    summary = record.run.summary if record.run else {}
    milestones = summary.get("milestones") or {}
    stages: dict[str, Metrics] = {
        "Constant predictor": summary.get("baseline") or {},
        "Before sparse phase": milestones.get("before_sparse") or {},
        "Before debias": milestones.get("before_debias") or {},
        "End of training": milestones.get("final") or {},
        "Dense": predictions.metrics.get("dense", {}),
        "Compact": predictions.metrics.get("compact", {}),
    }
    stages = {name: metrics for name, metrics in stages.items() if metrics}
    title = "Accuracy"
    if not stages:
        sentence = "No run and no labelled data at hand: nothing to compare. Name the run:"
        return section(title, missing(sentence, "compactmtl report --run RUN"))
    rows: list[list[str]] = []
    for task in dict.fromkeys(task for metrics in stages.values() for task in metrics):
        rows += _task_rows(task, stages, predictions.tasks.get(task))
    lead = (
        "Validation metrics; the bold one of each task ranks models. The constant predictor is "
        "the best single answer for all pixels; what does not beat it has learned nothing."
    )
    evaluated = (
        h(
            "p",
            f"Dense and compact: the .pt2 modules, evaluated in torch for this page on "
            f"{predictions.num_images} images.",
            class_="notes",
        )
        if predictions.num_images
        else None
    )
    columns = ("Task and metric", *stages, "Error vs constant")
    return section(title, table(columns, rows, class_="metrics"), evaluated, lead=lead)


def predictions_section(predictions: Predictions) -> Html:
    """Return sample pictures, one block per image."""
    title = "Predictions"
    notes = listing(predictions.notes)
    if not predictions.samples:
        return section(title, missing("No pictures can be drawn for this model."), notes)
    wide = len(predictions.tasks) >= WIDE
    grid = h(
        "div",
        *(_sample(sample, predictions.tasks) for sample in predictions.samples),
        class_="samples",
        style="--per-row: 1" if wide else None,
    )
    legends = [
        h("ul", *(_class(name, colour) for name, colour in facts.legend), class_="legend")
        for facts in predictions.tasks.values()
        if facts.legend
    ]
    lead = f"{predictions.source} Both models run in torch, from model.pt2."
    return section(title, grid, *legends, _differences(predictions), notes, lead=lead)


def _differences(predictions: Predictions) -> Html | None:
    if not predictions.differences:
        return None
    each = ", ".join(f"{task} {numbers.error(v)}" for task, v in predictions.differences.items())
    text = (
        f"Largest difference between dense and compact outputs on these images, relative: {each}."
    )
    return h("p", text, class_="notes")


def _task_rows(
    task: str, stages: Mapping[str, Metrics], facts: TaskFacts | None
) -> list[list[str]]:
    """Return a row for each metric of a task; the primary one in bold, with its gain."""
    names = list(dict.fromkeys(m for metrics in stages.values() for m in metrics.get(task, {})))
    # Every evaluation lists the metric that ranks models first.
    primary = facts.primary if facts is not None else names[0]
    rows = []
    for metric in names:
        values = [metrics.get(task, {}).get(metric) for metrics in stages.values()]
        cells = [numbers.metric(value) for value in values]
        if metric == primary:
            strong = [h("strong", cell) for cell in cells]
            name = h("span", h("strong", task), f" {metric}{_arrow(facts)}")
            gain = _gain(stages, task, facts) if facts is not None else ""
            rows.append([name, *strong, gain])
        else:
            rows.append([h("span", metric, class_="minor"), *cells, ""])
    return rows


def _arrow(facts: TaskFacts | None) -> str:
    if facts is None:
        return ""
    return f" {numbers.UP if facts.higher_is_better else numbers.DOWN}"


def _gain(stages: Mapping[str, Metrics], task: str, facts: TaskFacts) -> Html | str:
    """Return how far the last stage's error lies below the constant predictor's."""
    last: Metrics = next((m for m in reversed(list(stages.values())) if task in m), {})
    constant = stages.get("Constant predictor", {}).get(task, {}).get(facts.primary)
    value = last.get(task, {}).get(facts.primary)
    if constant is None or value is None:
        return numbers.DASH
    before, now = (1 - constant, 1 - value) if facts.higher_is_better else (constant, value)
    if before <= 0:
        return numbers.DASH
    change = 100.0 * (now / before - 1.0)
    text = f"{change:+.0f} %".replace("-", numbers.MINUS)
    return h("strong", text, class_="good-text" if change < 0 else "bad-text")


def _sample(sample: Sample, tasks: Mapping[str, TaskFacts]) -> Html:
    image = h("img", src=data_uri(sample.image), alt=f"{sample.name}: input")
    rows = []
    for index, (key, label) in enumerate(ROWS):
        cells = [h("td", image if index == 0 else "")]
        for task in tasks:
            picture = sample.pictures.get(task, {}).get(key)
            alt = f"{sample.name}: {task}, {label}"
            content = (
                h("img", src=data_uri(picture), alt=alt) if picture is not None else "no label"
            )
            cells.append(h("td", content))
        if any(key in pictures for pictures in sample.pictures.values()):
            rows.append(h("tr", h("th", label, scope="row"), *cells))
    head = h("tr", h("th", class_="corner"), h("th", sample.name), *(h("th", t) for t in tasks))
    return h("div", h("table", h("thead", head), h("tbody", *rows)), class_="sample")


def _class(name: str, colour: tuple[int, int, int]) -> Html:
    red, green, blue = colour
    return h("li", h("i", style=f"background: rgb({red} {green} {blue})"), name)
