"""Bring a candidate to the point where it is timed: loaded, run once, its outputs looked at."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from compactmtl.board.bench.inputs import make_inputs
from compactmtl.board.bench.items import Item
from compactmtl.board.bench.loads import Loaded
from compactmtl.board.bench.memory import PeakMemory
from compactmtl.board.errors import NotFiniteError
from compactmtl.board.own_times import OwnTimes
from compactmtl.board.sessions import Session
from compactmtl.board.stored import Stored
from compactmtl.board.tensors import Array

Guard = Callable[[str], AbstractContextManager[None]]


@dataclass
class Ready:
    """A candidate that has run once, and is loaded.

    Attributes:
        item: What it is.
        session: Loaded.
        inputs: What it is timed on.
        source: Where they come from.
        call: Runs it once on them.
        load_ms: Wall time of loading it the first time.
        first_ms: Wall time of the first run after that.
        added_mib: Memory that loading and the first run added at their peak; None where unknown.
        is_fresh: Whether it has not been timed since it was loaded.
    """

    item: Item
    session: Session
    inputs: Mapping[str, Array]
    source: str
    call: Callable[[], object]
    load_ms: float
    first_ms: float
    added_mib: float | None

    is_fresh: bool = True

    def reload(self) -> Loaded:
        """Return it loaded anew, after what was loaded before has gone; at first, as it is."""
        if not self.is_fresh:
            del self.call, self.session
            self.session = self.item.open()
            self.call = self.session.bind(self.inputs)
        self.is_fresh = False
        return Loaded(self.call, self.session.device_clock)


def prepare(
    name: str,
    item: Item,
    stored: Stored | None,
    *,
    batch: int,
    size: tuple[int, int] | None,
    memory: PeakMemory,
    guard: Guard,
) -> Ready:
    """Load a candidate and run it once.

    Raises:
        AskedError: It does not take the batch or image size.
        NotFiniteError: It yields NaN or Inf.
        BoardError: It cannot be loaded or run.
    """
    mark = memory.mark()
    with guard(name):
        session = item.open()
    inputs, source = make_inputs(session.inputs, stored, batch=batch, size=size)
    with guard(name):
        started = time.perf_counter_ns()
        outputs = session(inputs)
        first_ms = (time.perf_counter_ns() - started) / 1e6
    for output, value in outputs.items():
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise NotFiniteError(
                f"output `{output}` of `{item.path}` holds NaN or Inf on inputs: {source}",
                hint="a model that computes nothing is not worth timing; check its weights",
            )
    added = memory.added(mark)
    call = session.bind(inputs)
    if isinstance(call, OwnTimes):  # it is loaded, and was timed, in another process
        first_ms, added = call.wall_ns / 1e6, None
    return Ready(item, session, inputs, source, call, session.load_ms, first_ms, added)
