"""The passes of the compiler: announced when they start, timed when they end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int], None]
"""Called as each step starts, with its name and the number of steps that are left, it included."""


class Passes:
    """Where the compiler is.

    Attributes:
        seconds: Wall time per finished pass.
        left: Number of steps that have not started.
        current: Name of the step that started last.
    """

    def __init__(self, progress: Progress | None, left: int) -> None:
        self.seconds: dict[str, float] = {}
        self.left = left
        self.current = ""
        self._progress = progress

    def step(self, name: str) -> None:
        """Announce that a step starts."""
        self.current = name
        if self._progress is not None:
            self._progress(name, self.left)
        self.left -= 1

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note the wall time of the block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)

    @contextmanager
    def run(self, name: str) -> Iterator[None]:
        """Announce and time a pass of one step."""
        self.step(name)
        with self.timed(name):
            yield
