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
    hashes = {name: each["sha256"] for name, each in candidates.items()}
    for scores in (
        _evaluated(record.evaluation or {}, hashes, known),
        _from_sidecars(record, hashes, known),
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
    evaluation: Mapping[str, Any], hashes: Mapping[str, str], known: dict[str, bool]
) -> Scores:
    found = {
        subject["sha256"]: evaluation["metrics"][name]
        for name, subject in evaluation.get("subjects", {}).items()
        if name in evaluation["metrics"]
    }
    source = (
        f"Metrics by compactmtl evaluate on {evaluation.get('num_images')} images of "
        f"{evaluation.get('data')}."
    )
    metrics = {name: found[digest] for name, digest in hashes.items() if digest in found}
    return Scores(source=source, metrics=metrics, higher_is_better=known)


def _from_sidecars(record: Record, hashes: Mapping[str, str], known: dict[str, bool]) -> Scores:
    """Take the scores of lowered files, and of their models in fp32 on the same images."""
    metrics: dict[str, Metrics] = {}
    higher, images = dict(known), None
    for artefact in record.artefacts:
        per_task = artefact.sidecar.get("verified", {}).get("per_task", {})
        scored = {task: each["metric"] for task, each in per_task.items() if each.get("metric")}
        on = (artefact.sidecar.get("lowering") or {}).get("scored_on")
        if not scored or (images is not None and images != on):
            continue
        images = on
        which = artefact.sidecar.get("which")
        for name, digest in hashes.items():
            key = {artefact.sha256: "lower"}.get(digest) or ("fp32" if name == which else None)
            if key is not None:
                metrics[name] = {task: {m["name"]: m[key]} for task, m in scored.items()}
        higher |= {task: m["higher_is_better"] for task, m in scored.items()}
    where = images or {}
    source = (
        f"Metrics from when files were lowered in precision, on {where.get('num')} "
        f"{where.get('source', 'images')}."
    )
    return Scores(source=source, metrics=metrics, higher_is_better=higher)
