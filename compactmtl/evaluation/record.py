"""An evaluation as a JSON document."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from compactmtl.environment import environment
from compactmtl.evaluation.score import Scores
from compactmtl.evaluation.subjects import Subject
from compactmtl.multitask.task import Task

RECORD = "evaluation.json"
FORMAT_VERSION = 1


def make_record(
    scores: Scores,
    subjects: Mapping[str, Subject],
    tasks: Mapping[str, Task],
    *,
    baseline: str,
    source: str,
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """Return what was scored, on what, and every figure, as JSON data."""
    return {
        "format_version": FORMAT_VERSION,
        "environment": environment(),
        "data": source,
        "num_images": scores.num_images,
        "baseline": baseline,
        "tasks": {name: task.spec() for name, task in tasks.items()},
        "subjects": {
            name: {
                "file": subject.path.name,
                "sha256": subject.sha256,
                "which": subject.which,
                "runtime": subject.runtime,
            }
            for name, subject in subjects.items()
        },
        "left_out": dict(left_out),
        "metrics": scores.metrics,
        "classes": scores.classes,
        "rel_rms": scores.rel_rms,
        "changed": [asdict(change) for change in scores.changed],
    }
