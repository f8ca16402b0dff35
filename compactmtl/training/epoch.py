"""The steps of one epoch: what they train on, when they save, and where a signal stops them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from compactmtl.checkpoint import Checkpoint
from compactmtl.errors import CorruptFileError, StoppedError
from compactmtl.recipe import TrainSection
from compactmtl.training.feed import Feed
from compactmtl.training.interrupt import StopRequest
from compactmtl.training.learner import Learner
from compactmtl.training.reporter import Reporter
from compactmtl.training.run import Run
from compactmtl.training.seeding import random_state, seed_epoch, set_random_state
from compactmtl.training.state import save_state
from compactmtl.weights.archive import first_line


@dataclass
class Position:
    """How far an epoch is."""

    step: int = 0
    """Steps done, task-factor and main ones."""
    losses: dict[str, float] = field(default_factory=dict)
    """The sum of each task's loss over the main steps."""
    seconds: float = 0.0
    """Time it took, in earlier processes too."""
    waited: float = 0.0
    """Part of it that was waiting for data."""


class Pace:
    """When a checkpoint is due within an epoch.

    Args:
        train: Its ``checkpoint_every`` counts.
        clock: Returns seconds.
    """

    def __init__(self, train: TrainSection, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps, self._seconds = train.every_steps, train.every_seconds
        self._clock = clock
        self.saved()

    def saved(self) -> None:
        """Count from here on."""
        self._done, self._since = 0, self._clock()

    def is_due(self) -> bool:
        """Count a step; tell whether it is time."""
        self._done += 1
        if self._steps is not None:
            return self._done >= self._steps
        return self._seconds is not None and self._clock() - self._since >= self._seconds


class Epochs:
    """Does the steps of one epoch after the other.

    Args:
        learner: Trains.
        feed: Its batches.
        run: Where checkpoints go.
        state: The checkpoint; ``position`` says where in an epoch to go on.
        reporter: Told of every step.
        stop: A signal asks it to save and end.
        pace: When to save.
    """

    def __init__(
        self,
        learner: Learner,
        feed: Feed,
        run: Run,
        state: Checkpoint,
        reporter: Reporter,
        stop: StopRequest,
        pace: Pace,
    ) -> None:
        self.learner, self.feed, self.run, self.state = learner, feed, run, state
        self.reporter, self.stop, self.pace = reporter, stop, pace

    def train(self, epoch: int) -> Position:
        """Do the steps of an epoch (from 0) that are not done yet.

        Where the penalty stops before its time, the network is evaluated there: before debias.

        Raises:
            StoppedError: A signal came; everything up to its step is saved.
            NonFiniteError, TrainingError: As ``Learner``'s steps and ``check_weights``.
            CorruptFileError: The checkpoint's position is not one of this run.
        """
        learner, feed = self.learner, self.feed
        m_tasks = list(learner.tasks) if learner.optimizers.iterative == "subset" else []
        num_m = len(m_tasks) * feed.num_subset_batches
        position = self._start(epoch, num_m)
        started, feed.waited = time.monotonic() - position.seconds, position.waited
        num_steps = num_m + feed.steps_per_epoch
        self.reporter.epoch_started(epoch + 1, str(learner.phase), num_steps - position.step)
        for task, images, targets in feed.steps(epoch, m_tasks, position.step):
            if task is not None:
                losses = learner.task_step(task, images, targets)
            else:
                losses = self._main_step(epoch, images, targets)
                for name, loss in losses.items():
                    position.losses[name] += loss
            position.step += 1
            self.reporter.step(losses)
            position.seconds, position.waited = time.monotonic() - started, feed.waited
            self._perhaps_save(epoch, position, is_last=position.step == num_steps)
        learner.check_weights()
        return position

    def _start(self, epoch: int, num_m: int) -> Position:
        """Return where the epoch begins; random numbers, and the learner, are brought there."""
        learner, rank = self.learner, self.learner.processes.rank
        seed_epoch(learner.recipe.seed, epoch, rank)
        if not self.state.position:
            return Position(losses=dict.fromkeys(learner.tasks, 0.0))
        document = dict(self.state.position)
        try:
            states = document.pop("random")
            position = Position(**document)
            if not 0 < position.step <= num_m + self.feed.steps_per_epoch:
                raise ValueError(f"no step {position.step} in an epoch")
            if list(position.losses) != list(learner.tasks):
                raise ValueError(f"losses of {', '.join(position.losses)}")
            if rank < len(states):  # one process more than before draws numbers of its own
                set_random_state(states[rank], learner.fabric.device)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CorruptFileError(
                f"`{self.run.checkpoint}`: its position in epoch {epoch + 1} is none of this run: "
                f"{type(error).__name__}: {first_line(error)}",
                hint="was the data set changed since? otherwise start the run again",
            ) from error
        learner.enter_again(epoch, max(position.step - num_m, 0))
        return position

    def _main_step(self, epoch: int, images: Any, targets: Any) -> dict[str, float]:
        learner = self.learner
        was_frozen = learner.optimizers.main.frozen
        losses = learner.main_step(images, targets)
        if learner.optimizers.main.frozen and not was_frozen:
            val = learner.evaluate(self.feed.val(epoch))
            self.state.metrics["milestones"]["before_debias"] = val
        return losses

    def _perhaps_save(self, epoch: int, position: Position, *, is_last: bool) -> None:
        """Save if it is time, or a signal came; all processes agree on it.

        The last step of an epoch is saved with the epoch, unless the run ends here.

        Raises:
            StoppedError: A signal came.
        """
        learner, processes = self.learner, self.learner.processes
        due = self.pace.is_due() and processes.is_first
        stopped, due = processes.any(bool(self.stop.name), due)
        if not stopped and (is_last or not due):
            return
        learner.check_weights()
        states = processes.gather(random_state(learner.fabric.device))
        self.state.position = {**vars(position), "random": states}
        save_state(self.run, self.state, learner)
        self.pace.saved()
        if stopped:
            learner.fabric.barrier()  # a launcher ends all processes as soon as one has ended
            raise StoppedError(
                f"stopped by {self.stop.name or 'a signal to another process'} in epoch "
                f"{epoch + 1}, after step {position.step}; saved in `{self.run.folder}`",
                hint="repeat the command that began it, or what goes on with it",
            )
