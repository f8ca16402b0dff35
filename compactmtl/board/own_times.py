"""Calls that another process runs and times."""

from collections.abc import Callable


class OwnTimes:
    """A bound call that is timed where it runs; the clocks of this process say nothing of it.

    Attributes:
        wall_ns: Elapsed time of the last call.
        cpu_ns: CPU time of the other process in it.
    """

    def __init__(self, run: Callable[[], tuple[int, int]], last: tuple[int, int]) -> None:
        self._run = run
        self.wall_ns, self.cpu_ns = last

    def __call__(self) -> None:
        """Have it run once."""
        self.wall_ns, self.cpu_ns = self._run()
