"""How far a measurement is: a line now and then, for a person and for who started it over ssh."""

import re
import sys
import time
from collections.abc import Callable

EVERY_S = 2.0
LINE = re.compile(r"(rounds|frames): (\d{1,9})(?: of \d+)?")


class Progress:
    """Counts, and says the count at most every two seconds; call it outside what is timed.

    Args:
        what: What is counted: ``rounds`` or ``frames``.
        total: How many there will be; None where that is not known.
        say: Takes a line.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        say: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._what = what
        self._of = "" if total is None else f" of {total}"
        self._say, self._clock = say or _to_stderr, clock
        self._count = 0
        self._said: float | None = None

    def __call__(self) -> None:
        """Count one more."""
        self._count += 1
        now = self._clock()
        if self._said is None:  # what came before the first one is not counted
            self._said = now
        elif now - self._said >= EVERY_S:
            self._said = now
            self._say(f"{self._what}: {self._count}{self._of}")


class Heard:
    """Calls back for what another machine's lines of ``Progress`` count.

    Args:
        called: By what is counted, called once for each.
    """

    def __init__(self, called: dict[str, Callable[[], None] | None]) -> None:
        self._called = called
        self._counts = dict.fromkeys(called, 0)

    def __call__(self, line: str) -> bool:
        """Tell whether a line is one of progress; call back for what is new in it."""
        found = LINE.fullmatch(line)
        if found is None or found[1] not in self._called:
            return False
        count, call = int(found[2]), self._called[found[1]]
        if call is not None:
            for _ in range(count - self._counts[found[1]]):
                call()
        self._counts[found[1]] = count
        return True


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
