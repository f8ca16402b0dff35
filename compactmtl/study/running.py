"""Take the runs of a study as far as they are to be taken, several side by side."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue

from compactmtl.environment import usable_cores
from compactmtl.errors import StoppedError, TrainingError
from compactmtl.study.cells import RunCell
from compactmtl.study.children import Children
from compactmtl.study.steps import run_cell
from compactmtl.training.interrupt import StopRequest, stop_on_signal

OnFailed = Callable[[RunCell, TrainingError], None]


def run_cells(
    cells: Sequence[RunCell],
    *,
    jobs: int,
    devices: Sequence[str],
    on_done: Callable[[RunCell], None],
    on_failed: OnFailed | None = None,
    on_wait: Callable[[RunCell], None] = lambda _: None,
) -> None:
    """Do what is not done yet, ``jobs`` at a time; a run that began goes on.

    A run waits for those that it needs, and lets others go first.

    Args:
        cells: The runs, with all that they need.
        jobs: Processes side by side; they share the cores, unless ``OMP_NUM_THREADS`` is set.
        devices: Taken in turns; as for ``compactmtl train --device``.
        on_done: Called after each run, from this thread.
        on_failed: Called in its place after a run that failed, or that needs one that did; the
            others go on. None: the first failure ends the study.
        on_wait: Called, from another thread, with a run that a process which a killed study left
            behind still works on; it is waited for.

    Raises:
        TrainingError: A run failed; the others that had begun were still finished.
        StoppedError: SIGTERM or SIGUSR1 came, here or to a run's process; the others were saved.
    """
    free: SimpleQueue[str] = SimpleQueue()
    for index in range(jobs):
        free.put(devices[index % len(devices)])
    threads = max(1, (usable_cores() or 1) // jobs)
    children = Children()

    def work(cell: RunCell) -> None:
        device = free.get()
        try:
            run_cell(cell, device, threads, children, on_wait)
        finally:
            free.put(device)

    waiting = [cell for cell in cells if not cell.is_done]
    running: dict[Future[None], RunCell] = {}
    stopping = StopRequest("; what is finished stays")
    with ThreadPoolExecutor(jobs) as pool, stop_on_signal(stopping):
        try:
            while waiting or running:
                ready = [cell for cell in waiting if all(each.is_done for each in cell.needs)]
                for cell in ready[: jobs - len(running)]:
                    waiting.remove(cell)
                    running[pool.submit(work, cell)] = cell
                assert running, "a run needs one that is not among the cells"
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    cell = running.pop(future)
                    try:
                        future.result()
                    except TrainingError as error:
                        if on_failed is None:
                            raise
                        on_failed(cell, error)
                        for lost in _that_need(cell, waiting):
                            waiting.remove(lost)
                            reason = f"{lost.name}: it needs a run that failed"
                            on_failed(lost, TrainingError(reason))
                    else:
                        on_done(cell)
        except (KeyboardInterrupt, StoppedError):
            children.stop()
            raise


def _that_need(cell: RunCell, others: Sequence[RunCell]) -> list[RunCell]:
    """Return which of the others need a run, at first or second hand."""
    found: list[RunCell] = []
    for other in others:  # each stands behind those that it needs
        if any(each == cell or each in found for each in other.needs):
            found.append(other)
    return found
