"""What a page shows of the tasks: facts, pictures, metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from compactmtl.report.pictures import Picture

Metrics = Mapping[str, Mapping[str, float]]
"""``{task: {metric: value}}``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFacts:
    """What the page needs to know about a task."""

    kind: str
    primary: str
    higher_is_better: bool
    legend: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    """Class names with their colours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image and what is predicted on it."""

    name: str
    image: Picture
    pictures: Mapping[str, Mapping[str, Picture]]
    """``{task: {"truth" | "dense" | "compact": picture}}``; no truth where there is no label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Pictures and metrics of both models."""

    source: str
    """Where the images come from, one sentence."""
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict)
    samples: Sequence[Sample] = ()
    metrics: Mapping[str, Metrics] = field(default_factory=dict)
    """``{"dense" | "compact": {task: {metric: value}}}``; empty without labels."""
    num_images: int = 0
    """How many labelled images the metrics come from."""
    differences: Mapping[str, float] = field(default_factory=dict)
    """Largest |compact - dense| over the samples, relative to the largest |dense|, per task."""
    notes: tuple[str, ...] = ()
    """What could not be shown, one sentence each."""
