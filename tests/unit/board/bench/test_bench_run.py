"""The whole measurement on fake sessions and a fake clock: what is said of what happened."""

import itertools
import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from compactmtl.board.bench import document as of_document
from compactmtl.board.bench import loads
from compactmtl.board.bench.judge import pairs_of
from compactmtl.board.bench.run import Settings, measure
from compactmtl.board.errors import AskedError, NotFiniteError

QUICK = Settings(seconds=0.0, rounds=32)


def steady(ms):
    return itertools.repeat(ms)


def noisy(ms, seed):
    generator = np.random.default_rng(seed)
    return (ms * generator.lognormal(sigma=0.02) for _ in itertools.count())


def bench(items, settings=QUICK, **options):
    found = measure(items, settings, environment={}, **options)
    json.dumps(found, allow_nan=False)
    return found


def test_a_difference_is_shown_and_none_is_not_made_up(make_item):
    items = {
        "slow": make_item("slow", noisy(2.0, 0)),
        "fast": make_item("fast", noisy(1.0, 1)),
        "same": make_item("same", noisy(2.0, 2)),
    }
    found = bench(items)
    assert found["verdict"] == "ok"
    fast, same = found["ratios"]["slow/fast"], found["ratios"]["slow/same"]
    assert (fast["verdict"], fast["clock"]) == ("ok", "cpu")
    assert fast["cpu"] == pytest.approx(2, rel=0.05)
    assert same["verdict"] == "inconclusive"
    assert same["cpu_interval"][0] <= 1 <= same["cpu_interval"][1]


def test_a_call_that_waits_for_the_machine_makes_it_noisy(make_item):
    found = bench({"a": make_item("a", steady(1.0), wait=0.5)})
    assert found["verdict"] == "noisy"
    assert "it waited for the machine" in found["why"][0]


def test_a_gpu_is_judged_by_wall_time_and_its_own_clock_is_kept(make_item):
    items = {
        "gpu": make_item("gpu", steady(0.1), wait=3.0, device="cuda"),
        "cpu": make_item("cpu", steady(1.55)),
    }
    found = bench(items)
    assert found["verdict"] == "ok"  # waiting for the GPU is its business
    assert found["ratios"]["gpu/cpu"]["clock"] == "wall"
    assert found["ratios"]["gpu/cpu"]["wall"] == pytest.approx(2)
    gpu = found["candidates"]["gpu"]
    assert gpu["device_ms"]["p50"] == 0.5
    assert set(gpu["times_ms"]) == {"wall", "cpu", "device"}
    assert found["candidates"]["cpu"]["device_ms"] is None


@pytest.mark.parametrize(("longest_s", "opened"), [(60.0, 4), (0.0, 1)])
def test_what_is_loaded_already_is_the_first_load(make_item, monkeypatch, longest_s, opened):
    monkeypatch.setattr(loads, "MAX_LOADING_S", longest_s)
    item, times = make_item("a", steady(1.0)), []
    counted = replace(item, open=lambda: times.append(1) or item.open())
    found = bench({"a": counted})["candidates"]["a"]
    assert len(times) == found["loads"] == opened


def test_throughput_is_apart_from_latency_and_watched(make_item, clock):
    seen = []

    class Watch:
        @contextmanager
        def window(self, kind, name=""):
            counted = []
            yield lambda: counted.append(1)
            seen.append((kind, name, len(counted)))

    items = {name: make_item(name, steady(2.0)) for name in "ab"}
    found = bench(items, Settings(seconds=0.4, rounds=1, batch=3), watch=Watch())
    throughput = found["candidates"]["a"]["throughput"]
    calls = throughput["calls"]
    assert [each[:2] for each in seen] == [("timing", ""), ("alone", "a"), ("alone", "b")]
    assert [each[2] for each in seen] == [0, calls, pytest.approx(calls, abs=1)]
    assert calls in (50, 51)  # a quarter of 0.4 s, at 2 ms
    assert throughput["seconds"] == pytest.approx(2e-3 * calls)
    assert throughput["calls_per_s"] == pytest.approx(500)
    assert throughput["samples_per_s"] == pytest.approx(1500)
    assert found["candidates"]["a"]["latency_ms"]["n"] in range(100, 111)  # both in turns, 0.4 s


def test_raw_times_are_kept_to_a_microsecond_and_thinned_when_many(make_item, monkeypatch):
    found = bench({"a": make_item("a", steady(1.23456))})["candidates"]["a"]
    assert found["times_ms"]["wall"] == [1.235] * 32
    monkeypatch.setattr(of_document, "MAX_KEPT", 10)
    found = bench({"a": make_item("a", steady(1.0))})["candidates"]["a"]
    assert (found["times_every"], len(found["times_ms"]["cpu"])) == (4, 8)
    assert found["latency_ms"]["n"] == 32


def test_what_is_not_worth_timing_is_refused(make_item):
    with pytest.raises(NotFiniteError, match=r"output `y` of .*a\.onnx` holds NaN or Inf"):
        bench({"a": make_item("a", steady(1.0), value=float("nan"))})
    with pytest.raises(AskedError, match="nothing to bench"):
        bench({})


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"batch": 0}, {"rounds": 0}, {"seconds": -1}])
def test_settings_out_of_range(wrong):
    with pytest.raises(AskedError, match=next(iter(wrong))):
        Settings(**wrong)


def test_pairs_compare_within_runtimes_and_the_runtimes():
    runtimes = {"dense": "ort", "compact": "ort", "dense.xml": "ov", "compact.xml": "ov"}
    assert pairs_of(runtimes, [("compact", "dense"), ("dense", "compact")]) == [
        ("dense", "compact"),
        ("dense.xml", "compact.xml"),
        ("dense", "dense.xml"),
        ("compact", "dense"),
    ]
    assert pairs_of({"a": "ort"}, []) == []
