"""Channel numbers as text: ``0-12, 17`` for 0 to 12 and 17."""

from collections.abc import Iterable


def to_runs(channels: Iterable[int]) -> str:
    """Return ascending channel numbers as runs; none is an empty text."""
    runs: list[list[int]] = []
    for channel in channels:
        if runs and channel == runs[-1][1] + 1:
            runs[-1][1] = channel
        else:
            runs.append([channel, channel])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def from_runs(text: str) -> list[int]:
    """Return the channel numbers that ``to_runs`` made this of.

    Raises:
        ValueError: It is no such text.
    """
    channels: list[int] = []
    for run in filter(None, text.split(", ")):
        first, _, last = run.partition("-")
        channels += range(int(first), int(last or first) + 1)
    return channels
