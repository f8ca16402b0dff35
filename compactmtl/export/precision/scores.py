"""What a lower precision makes of each task's own metric."""

from collections.abc import Mapping

from compactmtl.errors import DataError
from compactmtl.export.labelled import Labelled, Unlabelled
from compactmtl.export.precision.run import Run
from compactmtl.export.sidecar import MetricChange, Samples, TaskParity


class Scores:
    """The metrics in fp32, and how others differ from them on the same images.

    Attributes:
        scored_on: The images; None where there are none.
        why_not: Why there are none.
        fp32: Task name to its primary metric in fp32; empty where there are no images.
    """

    def __init__(self, labelled: Labelled | Unlabelled | None, run: Run) -> None:
        self.scored_on: Samples | None = None
        self.why_not: str | None = None
        self.fp32: dict[str, float] = {}
        if isinstance(labelled, Labelled):
            try:
                self.fp32 = labelled.score(run)
            except DataError as error:  # the network's outputs and these targets do not fit
                labelled = Unlabelled(error.message)
        if isinstance(labelled, Labelled):
            self.scored_on = Samples(source=labelled.source, num=labelled.num_images)
            self.labelled = labelled
        else:
            self.why_not = "no labelled images were given" if labelled is None else labelled.why

    def changes(self, run: Run) -> dict[str, MetricChange]:
        """Return each task's metric and its change.

        Raises:
            NonFiniteError: An output holds NaN or Inf.
        """
        lower = self.labelled.score(run) if self.fp32 else {}
        return {
            name: MetricChange(
                name=self.labelled.tasks[name].primary,
                higher_is_better=self.labelled.tasks[name].higher_is_better,
                fp32=self.fp32[name],
                lower=value,
                change=value - self.fp32[name],
            )
            for name, value in lower.items()
        }

    def growth(self, run: Run) -> dict[str, float]:
        """Return how much larger each task's error is than in fp32; below 0: it is smaller."""
        return {
            name: -change.change if change.higher_is_better else change.change
            for name, change in self.changes(run).items()
        }

    def measure(self, task: str) -> str:
        """Return by what a budget of this task is measured."""
        return (
            f"metric {self.labelled.tasks[task].primary}" if task in self.fp32 else "relative RMS"
        )


def scored_in_another_runtime(
    labelled: Labelled | Unlabelled | None, source: Mapping[str, TaskParity], run: Run
) -> dict[str, MetricChange]:
    """Score a file that was built from one in lower precision, on the same images.

    Args:
        labelled: The images.
        source: Per task, what the file it was built from has come to; fp32 is that one's.
        run: Runs the built file.

    Raises:
        NonFiniteError: An output holds NaN or Inf.
    """
    before = {task: each.metric for task, each in source.items() if each.metric is not None}
    if not before or not isinstance(labelled, Labelled):
        return {}
    lower = labelled.score(run)
    return {
        task: metric.model_copy(update={"lower": lower[task], "change": lower[task] - metric.fp32})
        for task, metric in before.items()
    }
