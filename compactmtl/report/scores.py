"""The task metrics of what was measured, from one source, so that they can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compactmtl.report.collect import Record
from compactmtl.report.samples import Metrics, Predictions

LEAST = 2
"""Candidates that a comparison takes."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Metrics of candidates.

    Attributes:
        source: Where they come from, a sentence.
        metrics: Candidate to its metrics by task, the one that ranks models first.
        higher_is_better: By task; a task is absent where it is not known.
    """

    source: str
    metrics: dict[str, Metrics]
    higher_is_better: dict[str, bool]


def find_scores(record: Record, predictions: Predictions) -> Scores | None:
    """Return the metrics of measured candidates, from the first source that has at least two.

    An evaluation, else the sidecars (which score what was lowered in precision), else this page's
    own evaluation of the two modules, which fp32 exports are verified against.
    """
    known = {task: facts.higher_is_better for task, facts in predictions.tasks.items()}
    candidates: Mapping[str, Any] = record.bench["candidates"] if record.bench else {}
    by_hash = {each["sha256"]: name for name, each in candidates.items()}
    for scores in (
        _evaluated(record.evaluation or {}, by_hash, known),
        _from_sidecars(record, by_hash, known),
        Scores(
            source=f"Metrics of the .pt2 modules, which exports in fp32 are verified against, on "
            f"{predictions.num_images} images.",
            metrics={n: m for n, m in predictions.metrics.items() if n in candidates},
            higher_is_better=known,
        ),
    ):
        if len(scores.metrics) >= LEAST:
            return scores
    return None


def _evaluated(
    evaluation: Mapping[str, Any], by_hash: Mapping[str, str], known: dict[str, bool]
) -> Scores:
    subjects = evaluation.get("subjects", {})
    metrics = {
        by_hash[subject["sha256"]]: evaluation["metrics"][name]
        for name, subject in subjects.items()
        if subject["sha256"] in by_hash and name in evaluation["metrics"]
    }
    source = (
        f"Metrics by compactmtl evaluate on {evaluation.get('num_images')} images of "
        f"{evaluation.get('data')}."
    )
    return Scores(source=source, metrics=metrics, higher_is_better=known)


def _from_sidecars(record: Record, by_hash: Mapping[str, str], known: dict[str, bool]) -> Scores:
    """Take the scores of lowered files, and of the compact model in fp32 on the same images."""
    metrics: dict[str, Metrics] = {}
    higher, images = dict(known), None
    for artefact in record.artefacts:
        name = by_hash.get(artefact.sha256)
        per_task = artefact.sidecar.get("verified", {}).get("per_task", {})
        scored = {task: each["metric"] for task, each in per_task.items() if each.get("metric")}
        on = (artefact.sidecar.get("lowering") or {}).get("scored_on")
        if name is None or not scored or (images is not None and images != on):
            continue
        images = on
        metrics[name] = {task: {m["name"]: m["lower"]} for task, m in scored.items()}
        if "compact" in by_hash.values() and artefact.sidecar.get("which") == "compact":
            metrics["compact"] = {task: {m["name"]: m["fp32"]} for task, m in scored.items()}
        higher |= {task: m["higher_is_better"] for task, m in scored.items()}
    where = images or {}
    source = (
        f"Metrics from when files were lowered in precision, on {where.get('num')} "
        f"{where.get('source', 'images')}."
    )
    return Scores(source=source, metrics=metrics, higher_is_better=higher)
