"""The only place that prints: results on stdout, everything else on stderr."""

import json as json_module
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

PLAIN_INTERVAL_S = 10.0
"""Seconds between two progress lines where stderr is not a terminal."""


class Advance(Protocol):
    """What ``Console.progress`` yields: call it after each piece of work."""

    def __call__(self, steps: int = 1, note: str = "", total: int | None = None) -> None:
        """Count ``steps`` as done; ``note`` is shown behind the bar (a loss, a metric).

        ``total`` is for a number of steps that shows only while they are made.
        """


class Console:
    """Where verbs print.

    ``info``, ``warn`` and ``progress`` go to stderr. ``table`` goes to stdout, so that it can be
    piped; ``result`` prints the same as data, in ``--json`` mode only, where stdout holds exactly
    one JSON document and no table.
    """

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.debug = False
        self.rank = 0
        self._err = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self._progress: Progress | None = None

    def configure(
        self, *, json: bool | None = None, quiet: bool | None = None, debug: bool | None = None
    ) -> None:
        """Set the modes that are not None."""
        self.json = self.json if json is None else json
        self.quiet = self.quiet if quiet is None else quiet
        self.debug = self.debug if debug is None else debug

    def follow(self, rank: int) -> None:
        """Print nothing but errors, and with them the rank: the process of rank 0 says the rest."""
        self.rank, self.quiet, self.json = rank, True, False

    def info(self, text: str) -> None:
        """Print one line of news to stderr; nothing in ``--quiet`` mode."""
        if not self.quiet:
            self._err.print(Text(text))

    def warn(self, text: str) -> None:
        """Print one yellow line to stderr, in ``--quiet`` mode too."""
        self._err.print(Text.assemble(("warning: ", "yellow"), text))

    def error(self, message: str, hint: str = "") -> None:
        """Print one red line and its hint to stderr."""
        who = f"rank {self.rank}: " if self.rank else ""
        self._err.print(Text.assemble(who, ("error: ", "bold red"), (_one_line(message), "red")))
        if hint:
            self._err.print(Text.assemble(("hint: ", "bold"), hint))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print a table to stdout; columns that hold only numbers are aligned right.

        Args:
            title: Stands above the table; may be empty.
            columns: Headings; all empty for none.
            rows: Cells; floats get four significant digits, None is a dash.
        """
        if self.json:
            return
        table = Table(header_style="bold", box=None, show_header=any(columns))
        for index, column in enumerate(columns):
            cells = [row[index] for row in rows if row[index] is not None]
            is_number = bool(cells) and all(
                isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells
            )
            # Folded, never cut: an address or a path that ends in dots is of no use.
            justify: Literal["right", "left"] = "right" if is_number else "left"
            table.add_column(escape(column), justify=justify, overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(cell)) for cell in row))
        # A pipe has no width: a table that goes into a file must not be folded at 80 columns,
        # unless COLUMNS asks for a width.
        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 10_000
        out = RichConsole(file=sys.stdout, highlight=False, width=width)
        if title:
            # A line of its own: the title of a narrow table would be folded at the table's width.
            out.print(Text(title, style="italic"))
        out.print(table, crop=False)

    def result(self, document: Mapping[str, Any]) -> None:
        """Print the verb's result as one JSON document to stdout, in ``--json`` mode only.

        Paths become text; NaN and Inf, which JSON lacks, become null.
        """
        if self.json:
            text = json_module.dumps(_plain(document), indent=2, allow_nan=False)
            sys.stdout.write(text + "\n")

    @contextmanager
    def progress(
        self, description: str, total: int | None, *, equal: bool = True
    ) -> Iterator[Advance]:
        """Show a bar with the time left while the block runs; may be nested.

        Where stderr is not a terminal, a plain line appears every ten seconds and at the end.

        Args:
            description: What is being counted, as in "epoch".
            total: Number of steps; None where it is not known.
            equal: Steps take about the same time; where they do not, no time left is guessed.

        Yields:
            A function to call after each step: ``advance()``, ``advance(5, note="loss 0.31")``.
        """
        if self.quiet:
            yield _ignore
        elif self._err.is_terminal:
            with self._bar(description, total, equal=equal) as advance:
                yield advance
        else:
            plain = _PlainProgress(self, description, total, equal=equal)
            yield plain.advance
            plain.close()

    @contextmanager
    def steps(self, description: str) -> Iterator[Callable[[str, int], None]]:
        """Show a bar over steps that have names and take their time, each another one.

        Yields:
            A function to call as each step starts: its name, the number of steps left with it.
        """
        with self.progress(description, None, equal=False) as advance:
            done = -1

            def step(name: str, left: int) -> None:
                nonlocal done
                done += 1
                advance(min(done, 1), note=name, total=done + left)

            yield step

    @contextmanager
    def _bar(self, description: str, total: int | None, *, equal: bool) -> Iterator[Advance]:
        outermost = self._progress is None
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                _TimeLeft(),
                TextColumn("{task.fields[note]}"),
                console=self._err,
                transient=True,
            )
            self._progress.start()
        progress = self._progress
        task = progress.add_task(escape(description), total=total, note="", equal=equal)

        def advance(steps: int = 1, note: str = "", total: int | None = None) -> None:
            progress.update(task, advance=steps, total=total)
            if note:
                progress.update(task, note=escape(note))

        try:
            yield advance
        finally:
            progress.remove_task(task)
            if outermost:
                progress.stop()
                self._progress = None


class _TimeLeft(TimeRemainingColumn):
    """The time left, where the steps that were made say something about the others."""

    def render(self, task: Task) -> Text:
        if not task.fields["equal"]:
            return Text("gone")
        return Text.assemble("gone, ", super().render(task), " left")


class _PlainProgress:
    """Progress as lines, for logs and pipes."""

    def __init__(
        self, console: Console, description: str, total: int | None, *, equal: bool
    ) -> None:
        self.console, self.description, self.total = console, description, total
        self.equal = equal
        self.done, self.note = 0, ""
        self.started = self.printed = time.monotonic()
        self.printed_done = 0

    def advance(self, steps: int = 1, note: str = "", total: int | None = None) -> None:
        self.done += steps
        self.total = total or self.total
        self.note = note or self.note
        if time.monotonic() - self.printed >= PLAIN_INTERVAL_S:
            self._print()

    def close(self) -> None:
        # Work that ended within the interval and printed nothing needs no closing line either.
        if self.printed_done and self.printed_done != self.done:
            self._print()

    def _print(self) -> None:
        self.printed, self.printed_done = time.monotonic(), self.done
        elapsed = self.printed - self.started
        line = f"{self.description} {self.done}"
        if self.total:
            line += f"/{self.total}"
            if self.equal and 0 < self.done < self.total:
                line += f", {_clock(elapsed / self.done * (self.total - self.done))} left"
        self.console.info(
            f"{line}, {_clock(elapsed)} gone" + (f", {self.note}" if self.note else "")
        )


def _ignore(steps: int = 1, note: str = "", total: int | None = None) -> None:
    """Show nothing: the progress of ``--quiet``."""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _plain(value: object) -> object:
    """Return ``value`` as JSON data."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


console = Console()
"""The one console of the process; ``cli/app.py`` and the options of each verb configure it."""
