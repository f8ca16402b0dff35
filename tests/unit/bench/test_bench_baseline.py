"""Today's figures against an earlier record: regressions, files that changed, other settings."""

import json

import numpy as np
import pytest

from compactmtl.bench.baseline import compare, parse_share, read_baseline, regression
from compactmtl.bench.record import (
    BenchRecord,
    Candidate,
    InputRecord,
    LoadAverage,
    Settings,
    Spread,
    ThroughputRecord,
    Warmup,
    write_record,
)
from compactmtl.cli.app import run
from compactmtl.errors import CorruptFileError, RegressionError, UsageError

SETTINGS = {"device": "cpu", "threads": 1, "batch": 1, "cpu": "a processor"}


def candidate(times, **changes):
    figures = {"p90": 1, "p95": 1, "p99": 1, "mean": 1, "min": 1, "std": 0, "n": len(times)}
    spread = Spread(p50=float(np.median(times)), **figures)
    fields = {
        "file": "model.onnx",
        "sha256": "a" * 64,
        "size_bytes": 1,
        "runtime": "onnxruntime 1",
        "device": "cpu",
        "includes": "nothing",
        "inputs": {"image": InputRecord(shape=[1, 3, 4, 5], dtype="float32")},
        "load_ms": 1.0,
        "first_ms": 1.0,
        "warmup": Warmup(calls=3, seconds=0.5),
        "latency_ms": spread,
        "cpu_ms": spread,
        "throughput": ThroughputRecord(calls=3, seconds=1, calls_per_s=3, samples_per_s=3),
        "added_rss_mib": None,
        "times_ms": {"cpu": list(times), "wall": [9 * time for time in times]},
        "times_every": 1,
    }
    return Candidate(**(fields | changes))


def record(candidates, **settings):
    asked = {"device": "cpu", "threads": 1, "batch": 1} | settings
    shapes = {"image": [1, 3, 4, 5]}
    return BenchRecord(
        environment={"cpu": "a processor"},
        settings=Settings(shapes=shapes, inputs="random", seconds=1, rounds=50, **asked),
        candidates=candidates,
        ratios={},
        verdict="ok",
        why=[],
        left_out={},
        load_average=LoadAverage(before=None, after=None),
        peak_rss_mib=None,
    )


def times(seed, scale=1.0, sigma=0.02, n=200):
    return scale * np.random.default_rng(seed).lognormal(sigma=sigma, size=n)


def compared(now, before, limit=0.05):
    found = compare(
        record({"a": candidate(now)}), record({"a": candidate(before)}), max_regression=limit
    )
    return found["a"]


def test_the_same_is_no_regression_and_a_slower_one_is():
    assert compared(times(0), times(1)).verdict == "ok"
    slower = compared(times(0, 1.10), times(1))
    assert slower.verdict == "regression"
    assert slower.interval[0] <= slower.ratio <= slower.interval[1]
    assert slower.ratio == pytest.approx(1.1, rel=0.01)
    assert compared(times(0, 0.8), times(1)).verdict == "ok"  # faster
    assert compared(times(0, 1.10), times(1), limit=0.2).verdict == "ok"


def test_a_growth_that_is_not_sure_is_inconclusive():
    found = compared(times(0, 1.06), times(1, sigma=0.3))
    assert found.ratio > 1.05 > found.interval[0]
    assert found.verdict == "inconclusive"


def test_equal_runs_are_hardly_ever_a_regression():
    """Noise that lasts for rounds, as a machine's does; without parts it would be too sure."""
    alarms = 0
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(size=(2, 300))
        for i in range(1, 300):
            noise[:, i] += 0.8 * noise[:, i - 1]
        alarms += compared(*np.exp(0.05 * noise), limit=0.0).verdict == "regression"
    assert alarms <= 10  # the limit is no growth at all: 2.5 of 100 are due


def test_a_changed_file_is_compared_and_named():
    other = candidate(times(0), sha256="b" * 64)
    found = compare(record({"a": other}), record({"a": candidate(times(1))}), max_regression=0.05)
    assert found["a"].is_other_file
    assert not compared(times(0), times(1)).is_other_file


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"a": candidate(times(0), runtime="onnxruntime 2")}, "`a` has another runtime"),
        (
            {"a": candidate(times(0), inputs={"x": InputRecord(shape=[1], dtype="int8")})},
            "`a` has other inputs",
        ),
        ({"a": candidate(times(0, n=19))}, "19 rounds"),
        ({"b": candidate(times(0))}, "none of the candidates b; it has a"),
    ],
)
def test_what_cannot_be_compared_is_refused(now, message):
    with pytest.raises(UsageError, match=message):
        compare(record(now), record({"a": candidate(times(1))}), max_regression=0.05)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"threads": 2}, "threads 1, this run with 2"),
        ({"batch": 4}, "batch 1, this run with 4"),
        ({"device": "cuda"}, "device cpu, this run with cuda"),
        ({"cpu": "another"}, "on another machine: a processor, this is another"),
    ],
)
def test_other_settings_or_machines_are_refused_before_anything_runs(tmp_path, changed, message):
    path = tmp_path / "bench.json"
    write_record(path, record({"a": candidate(times(0))}))
    assert list(read_baseline(path, **SETTINGS).candidates) == ["a"]
    with pytest.raises(UsageError, match=message):
        read_baseline(path, **(SETTINGS | changed))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 1}))
    with pytest.raises(CorruptFileError, match="format version 1, expected 2"):
        read_baseline(path, **SETTINGS)


def test_regressions_have_an_exit_code_of_their_own():
    slow = compared(times(0, 1.5), times(1))
    found = record({"a": candidate(times(0))}).model_copy(update={"baseline": {"a": slow}})
    error = regression(found, 0.05)
    assert isinstance(error, RegressionError)
    assert "by more than 5 %: `a` takes 1.5" in error.message
    assert error.exit_code == 23
    assert regression(record({}), 0.05) is None


@pytest.mark.parametrize("text", ["5", "0.05", "-5%", "%", "5%%"])
def test_a_share_is_written_as_a_percentage(text):
    assert parse_share("5%") == parse_share("5 %") == 0.05
    with pytest.raises(UsageError, match="expected a percentage, as in 5%"):
        parse_share(text)


def test_the_verb_compares_and_writes_before_it_fails(folder, capsys):
    args = ["bench", str(folder), "--seconds", "0", "--rounds", "20"]
    assert run(args) == 0
    path = folder / "bench.json"
    document = json.loads(path.read_text())
    for each in document["candidates"].values():  # as if it had been ten times as fast
        each["times_ms"] = {clock: [t / 10 for t in ts] for clock, ts in each["times_ms"].items()}
    (folder / "good.json").write_text(json.dumps(document))
    capsys.readouterr()
    assert run([*args, "--baseline", str(folder / "good.json")]) == 23
    captured = capsys.readouterr()
    assert "regression" in captured.out
    assert "slower than the baseline" in captured.err
    assert run([*args, "--baseline", str(folder / "good.json"), "--json"]) == 23
    assert json.loads(capsys.readouterr().out)["baseline"]  # one document, the record
    written = json.loads(path.read_text())["baseline"]
    assert {each["verdict"] for each in written.values()} == {"regression"}
