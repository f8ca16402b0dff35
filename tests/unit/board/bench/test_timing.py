import gc
import time

import pytest

from compactmtl.board.bench import timing
from compactmtl.board.bench.timing import back_to_back, interleave
from compactmtl.board.errors import AskedError
from compactmtl.board.own_times import OwnTimes


def recorder(log, name):
    return lambda: log.append(name)


def test_every_round_runs_every_call_once_in_changing_order():
    log = []
    rounds = []
    found = interleave(
        {name: recorder(log, name) for name in "abc"},
        seconds=0,
        rounds=40,
        on_round=lambda: rounds.append(len(log)),
    )
    assert len(rounds) == 40
    assert len(log) == 3 * (40 + timing.WARMUP_ROUNDS)
    in_rounds = [tuple(log[i : i + 3]) for i in range(0, len(log), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in in_rounds)
    assert len(set(in_rounds)) == 6  # every order comes up
    assert all(len(t.wall_ms) == len(t.cpu_ms) == 40 for t in found.values())
    assert list(found) == ["a", "b", "c"]


def test_orders_follow_the_seed():
    logs = []
    for seed in (0, 0, 1):
        log = []
        interleave({name: recorder(log, name) for name in "abc"}, seconds=0, rounds=10, seed=seed)
        logs.append(log)
    assert logs[0] == logs[1] != logs[2]


class FakeClock:
    """A clock that only moves when it is told to."""

    def __init__(self):
        self.now_ns = 0

    def perf_counter(self):
        return self.now_ns / 1e9

    def perf_counter_ns(self):
        return self.now_ns

    process_time_ns = perf_counter_ns

    def sleep(self):
        self.now_ns += 10_000_000


def test_it_goes_on_until_both_limits_are_reached(monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(timing, "time", clock)
    found = interleave({"a": clock.sleep}, seconds=0.1, rounds=2)
    assert len(found["a"].wall_ms) == 10
    found = interleave({"a": clock.sleep}, seconds=0.0, rounds=4)
    assert list(found["a"].wall_ms) == [10.0] * 4


def test_waiting_is_wall_time_and_not_cpu_time():
    found = interleave({"sleep": lambda: time.sleep(0.02)}, seconds=0, rounds=3)["sleep"]
    assert found.wall_ms.min() >= 20
    assert found.cpu_ms.max() < found.wall_ms.min()


def test_the_garbage_collector_is_off_meanwhile_and_on_again():
    seen = []

    def call():
        seen.append(gc.isenabled())

    interleave({"a": call}, seconds=0, rounds=2)
    assert not any(seen)
    assert gc.isenabled()

    def fail():
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        interleave({"a": fail}, seconds=0, rounds=2)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("calls", "settings", "message"),
    [
        ({}, {}, "nothing to time"),
        ({"a": int}, {"rounds": 0}, r"rounds \(=0\) must be at least 1"),
        ({"a": int}, {"seconds": -1.0}, "seconds"),
        ({"a": int}, {"seconds": float("nan")}, "seconds"),
        ({"a": int}, {"seconds": float("inf")}, "seconds"),
    ],
)
def test_settings_that_measure_nothing(calls, settings, message):
    with pytest.raises(AskedError, match=message):
        interleave(calls, **settings)


def test_what_another_process_times_counts_by_its_clocks(monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(timing, "time", clock)

    def run():
        clock.sleep()  # the way there and back
        return 3_000_000, 2_000_000

    call = OwnTimes(run, (0, 0))
    found = interleave({"there": call, "here": clock.sleep}, seconds=0, rounds=5)
    assert list(found["there"].wall_ms) == [3.0] * 5
    assert list(found["there"].cpu_ms) == [2.0] * 5
    assert list(found["here"].wall_ms) == [10.0] * 5
    alone = back_to_back(call, seconds=0.1, ran=lambda: None)
    assert (alone.calls, alone.seconds) == (10, pytest.approx(0.03))
