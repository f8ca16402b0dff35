import weakref

import pytest

from compactmtl.board.bench import timing
from compactmtl.board.bench.loads import LOADS, MIN_LOADS, Loaded, interleave_loads, num_loads
from compactmtl.board.errors import AskedError


class Call:
    def __call__(self):
        pass


def test_everything_is_loaded_several_times_and_every_pair_in_both_orders():
    log = []

    def loader(name):
        def load():
            log.append(name)
            return Loaded(Call())

        return load

    found = interleave_loads(
        {name: loader(name) for name in "abc"}, seconds=0, loading_s=1, rounds=30
    )
    assert len(log) == 3 * MIN_LOADS
    orders = [log[i : i + 3] for i in range(0, len(log), 3)]
    assert orders[0] == orders[1][::-1]
    assert orders[2] == orders[3][::-1]
    for name, timings in found.items():
        assert timings.places == tuple(order.index(name) for order in orders)
        assert timings.load_rounds == (8,) * MIN_LOADS  # 30 rounds asked, in equal parts
        assert len(timings.wall_ms) == len(timings.cpu_ms) == 32
    assert list(found) == ["a", "b", "c"]


def test_one_load_is_gone_before_the_next():
    alive = []

    def load():
        assert sum(each() is not None for each in alive) < 2  # at most the other one of this load
        call = Call()
        alive.append(weakref.ref(call))
        return Loaded(call)

    interleave_loads({"a": load, "b": load}, seconds=0, loading_s=1, rounds=4)
    assert len(alive) == 2 * MIN_LOADS


@pytest.mark.parametrize(
    ("loading_s", "seconds", "expected"),
    [
        (0.0, 10.0, LOADS),
        (0.3, 10.0, LOADS),
        (1.4, 10.0, 6),
        (4.0, 10.0, MIN_LOADS),  # longer than measuring, but not long
        (60.0, 10.0, 1),  # an engine that is built while it loads
    ],
)
def test_loading_takes_no_longer_than_it_is_worth(loading_s, seconds, expected):
    assert num_loads(loading_s, seconds) == expected


def test_times_stay_with_their_call_and_load(monkeypatch):
    now = [0]
    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: now[0])
    number = {"a": 0, "b": 0}

    def loader(name, cost_ns):
        def load():
            number[name] += 1
            cost = cost_ns * number[name]

            def call():
                now[0] += cost

            return Loaded(call)

        return load

    found = interleave_loads(
        {"a": loader("a", 10**6), "b": loader("b", 10**9)}, seconds=0, loading_s=1, rounds=8
    )
    assert list(found["a"].wall_ms) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert list(found["b"].wall_ms) == [1e3, 1e3, 2e3, 2e3, 3e3, 3e3, 4e3, 4e3]


@pytest.mark.parametrize(
    ("artefacts", "settings", "message"),
    [
        ({}, {}, "nothing to time"),
        ({"a": Call}, {"rounds": 0}, r"rounds \(=0\)"),
        ({"a": Call}, {"seconds": float("nan")}, "seconds"),
    ],
)
def test_settings_that_measure_nothing(artefacts, settings, message):
    with pytest.raises(AskedError, match=message):
        interleave_loads(artefacts, **settings)
