import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.board.bench.misses import account, find_misses, longest_run
from compactmtl.board.bench.paced import WARMUP_CALLS, Pace, run_paced
from compactmtl.board.bench.thermometer import Reading
from compactmtl.board.errors import AskedError

MS = 10**6


@pytest.fixture(autouse=True, scope="module")
def no_garbage():
    """Keep each of the many short runs from collecting the garbage of all tests."""
    gc.disable()
    yield
    gc.enable()


class FakeMachine:
    """A clock that only calls and sleeps move on; calls take what they are told to."""

    def __init__(self, durations, *, late=()):
        self.now = 12_345
        self.durations = iter([0] * WARMUP_CALLS + list(durations))
        self.late = iter(late)
        self.slept = 0

    def call(self):
        self.now += next(self.durations) * MS

    def sleep(self, seconds):
        assert seconds > 0
        self.slept += 1
        self.now += round(seconds * 1e9) + next(self.late, 0) * MS

    def run(self, pace, **options):
        return run_paced(
            self.call, pace, clock=lambda: self.now, sleep=self.sleep, **options
        )  # fmt: skip


def brute_force(durations, late, num, period):
    """Go through the run millisecond by millisecond: what became of each frame?

    Returns responses (None: dropped) and which frames waited for the one before.
    """
    durations, late = iter(durations), iter(late)
    response, waited = [None] * num, [False] * num
    buffer, working_on, end, wake = None, None, None, None
    now = 0
    while now < num * period or working_on is not None or buffer is not None:
        if now % period == 0 and now < num * period:
            asleep = working_on is None and buffer is None
            buffer = now // period  # the picture that waited there is gone
            waited[buffer] = working_on is not None and end > now
            if asleep:
                wake = now + next(late, 0)
        if working_on is not None and end == now:
            response[working_on], working_on = now - working_on * period, None
            wake = now
        if working_on is None and buffer is not None and wake <= now:
            working_on, buffer, end = buffer, None, now + next(durations)
            if end == now:
                response[working_on], working_on = now - working_on * period, None
        now += 1
    return response, [w and r is not None for w, r in zip(waited, response, strict=True)]


runs = st.tuples(
    st.lists(st.integers(0, 12), min_size=8, max_size=8),
    st.lists(st.integers(0, 6), max_size=8),
    st.integers(1, 8),
    st.integers(1, 5),
)


def pace_of(num, period, deadline_ms=5.0):
    return Pace(rate=1000 / period, deadline_ms=deadline_ms, seconds=num * period / 1000)


@given(runs)
def test_frames_against_brute_force(run):
    durations, late, num, period = run
    frames = FakeMachine(durations, late=late).run(pace_of(num, period))
    response, waited = brute_force(durations, late, num, period)
    expected = [np.nan if each is None else each for each in response]
    np.testing.assert_allclose(frames.response_ms, expected, atol=1e-6)
    assert frames.waited.tolist() == waited
    assert frames.response_ms[0] >= 0 or late  # without late wake-ups the first is computed


@given(runs, st.integers(0, 15))
def test_misses_against_brute_force(run, deadline):
    durations, late, num, period = run
    pace = pace_of(num, period, deadline + 0.5)
    found = account(FakeMachine(durations, late=late).run(pace), pace)
    response, waited = brute_force(durations, late, num, period)
    missed = "".join("x" if r is None or r > deadline + 0.5 else "." for r in response)
    kept = [r for r in response if r is not None]
    assert (found.num_frames, found.num_misses) == (num, missed.count("x"))
    assert found.longest_run == max(map(len, missed.split(".")))
    assert (found.num_dropped, found.num_waited) == (num - len(kept), sum(waited))
    assert found.worst_ms == pytest.approx(max(kept))
    assert found.response_ms.n == found.call_ms.n == len(kept)
    assert sum(window.num_frames for window in found.windows) == num
    assert sum(window.num_misses for window in found.windows) == found.num_misses


def test_the_schedule_does_not_drift():
    machine = FakeMachine([3] * 1000)
    frames = machine.run(Pace(rate=30, deadline_ms=12, seconds=20))
    assert len(frames.response_ms) == 600
    np.testing.assert_allclose(frames.response_ms, 3)
    # The last frame was released where the first and the rate put it, to the nanosecond.
    assert machine.now - frames.start_ns == round(599 * 1e9 / 30) + 3 * MS
    # A loop that sleeps for a period after each call is off by all its calls together.
    assert 599 * (1e9 / 30 + 3 * MS) - machine.now > 1e9


def test_a_slow_call_drops_the_older_of_two_frames_and_delays_the_newer():
    frames = FakeMachine([25, 5, 5]).run(pace_of(4, 10))
    np.testing.assert_allclose(frames.response_ms, [25, np.nan, 10, 5])
    assert frames.waited.tolist() == [False, False, True, False]
    np.testing.assert_allclose(frames.begin_ms, [0, np.nan, 5, 0])
    assert find_misses(frames, 10).tolist() == [True, True, False, False]


def test_nothing_late_is_nothing_missed():
    pace = pace_of(50, 10)
    found = account(FakeMachine([5] * 50).run(pace), pace)
    assert (found.num_misses, found.num_dropped, found.longest_run) == (0, 0, 0)
    assert found.wakeup_ms.p99 == 0


@given(st.lists(st.booleans(), min_size=1))
def test_longest_run_against_text(missed):
    text = "".join("x" if each else " " for each in missed)
    assert longest_run(np.array(missed)) == max(map(len, text.split()), default=0)


def test_temperatures_go_to_the_part_of_the_run_they_were_read_in():
    pace = Pace(rate=10, deadline_ms=50, seconds=10)
    frames = FakeMachine([60] * 30 + [10] * 100).run(pace)
    readings = [Reading(frames.start_ns + round(s * 1e9), c) for s, c in
                [(-1, 99.0), (0.5, 40.0), (0.7, 41.0), (9.5, 70.0), (12.0, 99.0)]]  # fmt: skip
    windows = account(frames, pace, readings).windows
    assert [window.temperature_c for window in windows] == [41.0, *[None] * 8, 70.0]
    assert [window.num_misses for window in windows] == [10] * 3 + [0] * 7
    assert [window.p50_ms for window in windows] == [60] * 3 + [10] * 7


def test_the_first_calls_are_not_recorded():
    seen = []
    machine = FakeMachine([])

    def call():
        seen.append(machine.now)

    frames = run_paced(call, pace_of(2, 10), clock=lambda: machine.now, sleep=machine.sleep)
    assert len(seen) == 2 + WARMUP_CALLS
    assert len(frames.response_ms) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 12, 10), r"rate \(=0\)"),
        ((30, -1, 10), "deadline_ms"),
        ((30, 12, float("nan")), "seconds"),
        ((float("inf"), 12, 10), "rate"),
        ((1, 12, 0.5), "release no frame"),
    ],
)
def test_paces_that_cannot_be(values, message):
    with pytest.raises(AskedError, match=message):
        Pace(*values)
