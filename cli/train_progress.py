"""What `compactmtl train` shows while it runs: a reporter that speaks through the console."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from compactmtl.cli.console import Advance, console
from compactmtl.training import FitResult, RunInfo, is_first


class TrainProgress:
    """A bar over epochs, a bar over the steps of the present epoch, a line per finished epoch."""

    def __init__(self) -> None:
        if not is_first():
            console.follow(int(os.environ["RANK"]))
        self.info: RunInfo | None = None
        self._run, self._epoch = ExitStack(), ExitStack()
        self._what, self._prepared = "", 0
        self._epochs: Advance | None = None
        self._steps: Advance | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._epoch.close()
        self._run.close()

    def preparing(self, what: str, done: int, total: int) -> None:
        """Move the bar of data that are made ready."""
        if self._what != what:
            self._epoch.close()
            self._what, self._prepared = what, 0
            self._steps = self._epoch.enter_context(console.progress(what, total))
        if self._steps is not None:
            self._steps(done - self._prepared)
        self._prepared = done

    def run_started(self, info: RunInfo) -> None:
        """Say what is trained, and where."""
        self._epoch.close()
        self.info = info
        console.info(
            f"{info.recipe}: {', '.join(info.tasks)}; {info.num_params:,} parameters; "
            f"{info.num_train} training and {info.num_val} validation images; "
            f"{info.device}, {info.precision}"
        )
        console.info(f"run folder: {info.folder}")
        if info.first_step:
            place = f"in epoch {info.first_epoch + 1} of {info.epochs}, after step"
            console.info(f"resumed {place} {info.first_step}")
        elif info.first_epoch:
            console.info(f"resumed after epoch {info.first_epoch} of {info.epochs}")
        left = info.epochs - info.first_epoch
        self._epochs = self._run.enter_context(console.progress("epoch", left))

    def epoch_started(self, epoch: int, phase: str, num_steps: int) -> None:
        """Start the bar of the epoch's steps."""
        total = self.info.epochs if self.info else epoch
        name = f"step (epoch {epoch}/{total}, {phase})"
        self._steps = self._epoch.enter_context(console.progress(name, num_steps))

    def step(self, losses: Mapping[str, float]) -> None:
        """Move the bar; show the step's losses."""
        if self._steps is not None:
            self._steps(note="  ".join(f"{name} {value:.3f}" for name, value in losses.items()))

    def epoch_finished(self, record: Mapping[str, Any]) -> None:
        """Print the epoch's line."""
        self._epoch.close()
        parts = [f"epoch {record['epoch']} {record['phase']}"]
        for task, metrics in record["val"].items():
            metric, value = next(iter(metrics.items()))
            parts.append(f"{task} {metric} {value:.4g}")
        sparsity = record.get("sparsity")
        if sparsity and sparsity["num_groups"]:
            parts.append(f"zero groups {sparsity['zero_groups'] / sparsity['num_groups']:.1%}")
        if record.get("threshold"):
            parts.append(f"lam {record['lam']:.3g}, threshold lr x lam {record['threshold']:.3g}")
        if record.get("cost") is not None:
            parts.append(f"cost compiled {record['cost']:.3g}")
        for task, reach in record.get("m_reach", {}).items():
            parts.append(f"|m-1| {task} {reach:.3f}")
        console.info(f"{', '.join(parts)}, {record['seconds']:.1f} s")
        if self._epochs is not None:
            self._epochs()

    def message(self, text: str) -> None:
        """Print a line."""
        console.info(text)

    def summary(self, result: FitResult) -> None:
        """Print the final metrics as a table, or everything as JSON."""
        last, best = result.selection["last_10"], result.selection["best"]
        rows = [
            [task, metric, value, last["val"][task].get(metric), best["val"][task].get(metric),
             result.baseline[task].get(metric)]
            for task, metrics in result.metrics.items()
            for metric, value in metrics.items()
        ]  # fmt: skip
        if not console.quiet:
            means = f"mean of last {last['epochs']}"
            columns = ["task", "metric", "last epoch", means, f"best ({best['epoch']})"]
            console.table("validation split", [*columns, "best constant"], rows)
        console.info(f"checkpoint: {result.checkpoint_path}")
        console.result(
            {
                "run": result.run_dir,
                "checkpoint": result.checkpoint_path,
                "metrics": result.metrics,
                "baseline": result.baseline,
                "selection": result.selection,
                "history": result.history,
            }
        )
