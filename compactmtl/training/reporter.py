"""How a run tells the outside world what it does; the library itself prints nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from compactmtl.training.run import CHECKPOINT


@dataclass(frozen=True)
class RunInfo:
    """What is known when a run starts."""

    folder: Path
    recipe: str
    device: str
    precision: str
    epochs: int
    first_epoch: int
    """Finished epochs before this start; 0 unless resumed."""
    first_step: int
    """Steps of the epoch after them that were done too."""
    num_train: int
    num_val: int
    num_params: int
    tasks: tuple[str, ...]

    @property
    def is_resumable(self) -> bool:
        """Whether anything was saved, in this start or before: then `--resume` goes on."""
        return (self.folder / CHECKPOINT).is_file()


class Reporter(Protocol):
    """Told of every event of a run, in order. Epochs are counted from 1."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Data are made ready, such as images rendered into a cache, before the run starts."""

    def run_started(self, info: RunInfo) -> None:
        """Everything was checked; the first epoch is next."""

    def epoch_started(self, epoch: int, phase: str, num_steps: int) -> None:
        """An epoch begins, or goes on; ``num_steps`` counts main and task-factor steps to do."""

    def step(self, losses: Mapping[str, float]) -> None:
        """One step is done; its unweighted losses per task."""

    def epoch_finished(self, record: Mapping[str, Any]) -> None:
        """An epoch is evaluated and saved; its record, as in `log.jsonl`."""

    def message(self, text: str) -> None:
        """Anything else worth a line."""


class NullReporter:
    """Says nothing."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Say nothing."""

    def run_started(self, info: RunInfo) -> None:
        """Say nothing."""

    def epoch_started(self, epoch: int, phase: str, num_steps: int) -> None:
        """Say nothing."""

    def step(self, losses: Mapping[str, float]) -> None:
        """Say nothing."""

    def epoch_finished(self, record: Mapping[str, Any]) -> None:
        """Say nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""
