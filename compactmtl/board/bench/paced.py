"""Call once per frame at a fixed rate, as a camera would.

A camera does not wait. Frame i is released at i / rate after the start, on an absolute schedule,
so nothing drifts. One frame is computed at a time. Of the frames released meanwhile, the newest
waits and takes the place of the one that waited before it, which is dropped: a camera's buffer of
one picture. The response time of a frame counts from its release, so waiting is in it. A frame is
missed if its response takes longer than the deadline, or if it is dropped.

Between frames the process sleeps: a loop that spins until the next release would keep clocks and
temperature up, which is what a paced measurement is to show.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compactmtl.board.bench.limit import Limit, Unlimited
from compactmtl.board.bench.timing import Times, no_garbage_collection
from compactmtl.board.errors import AskedError

WARMUP_CALLS = 3


@dataclass(frozen=True)
class Pace:
    """What is asked of a run.

    Attributes:
        rate: Frames per second.
        deadline_ms: Longest response that is no miss.
        seconds: Time over which frames are released.

    Raises:
        AskedError: A value is out of range, or no frame would be released.
    """

    rate: float
    deadline_ms: float
    seconds: float

    def __post_init__(self) -> None:
        for name in ("rate", "deadline_ms", "seconds"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise AskedError(f"{name} (={value:g}) must be a number above 0")
        if self.num_frames < 1:
            raise AskedError(
                f"{self.seconds:g} s at {self.rate:g} frames per second release no frame",
                hint="measure for longer",
            )

    @property
    def num_frames(self) -> int:
        """How many frames are released."""
        return int(self.rate * self.seconds + 1e-9)  # 0.1 s at 30 per second are three


@dataclass(frozen=True)
class Frames:
    """What became of each frame, in the order of release; NaN where it was dropped.

    Attributes:
        start_ns: When frame 0 was released, on the clock of the run.
        release_s: (n,) releases after the start.
        begin_ms: (n,) from the release to the begin of the call.
        response_ms: (n,) from the release to the end of the call.
        waited: (n,) whether the call before still ran when the frame was released.
    """

    start_ns: int
    release_s: Times
    begin_ms: Times
    response_ms: Times
    waited: npt.NDArray[np.bool_]


def run_paced(
    call: Callable[[], object],
    pace: Pace,
    *,
    clock: Callable[[], int] = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
    name: str = "",
    limit: Limit | None = None,
    on_frame: Callable[[], None] | None = None,
) -> Frames:
    """Release frames and compute them; three calls before the first are not recorded.

    Unit: milliseconds, but for the clock's nanoseconds.

    Args:
        call: Computes one frame; it is over when it returns.
        pace: Rate, deadline and duration.
        clock: Nanoseconds, never going back.
        sleep: Waits for seconds; may wake up late, which the response times then hold.
        name: What the limit calls it.
        limit: Told which call runs.
        on_frame: Called after each frame that was computed; takes time from the next one.
    """
    num = pace.num_frames
    releases = np.round(np.arange(num) * (1e9 / pace.rate)).astype(np.int64)
    begin, response = np.full(num, np.nan), np.full(num, np.nan)
    waited = np.zeros(num, dtype=np.bool_)
    guard = limit or Unlimited()
    with no_garbage_collection():
        for _ in range(WARMUP_CALLS):
            call()
        start = clock() + round(1e9 / pace.rate)  # frame 0 is waited for like any other
        following = 0
        while following < num:
            ready = now = clock()
            while now < start + releases[following]:
                sleep((start + releases[following] - now) / 1e9)
                now = clock()
            frame = int(np.searchsorted(releases, now - start, side="right")) - 1  # the newest
            waited[frame] = start + releases[frame] < ready
            guard.begin(name)
            call()
            guard.end()
            begin[frame] = now - start - releases[frame]
            response[frame] = clock() - start - releases[frame]
            following = frame + 1
            if on_frame is not None:
                on_frame()
    return Frames(
        start_ns=start,
        release_s=releases / 1e9,
        begin_ms=begin / 1e6,
        response_ms=response / 1e6,
        waited=waited,
    )
