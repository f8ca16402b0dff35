import numpy as np
import pytest

from compactmtl.board.bench.ratio import Ratio
from compactmtl.board.bench.statistics import summarise, why_noisy
from compactmtl.board.bench.timing import Timings
from compactmtl.board.errors import RunError


def test_summary_of_known_numbers():
    times = np.arange(1, 102, dtype=float)  # 1 .. 101
    found = summarise(times)
    assert (found.p50, found.p90, found.p99) == (51, 91, 100)
    assert (found.min, found.mean, found.n) == (1, 51, 101)
    assert found.std == pytest.approx(np.sqrt(101 * 102 / 12))
    assert summarise(np.array([2.0])).std == 0
    with pytest.raises(RunError):
        summarise(np.array([]))


def test_summary_against_numpy_in_any_order():
    times = np.random.default_rng(0).lognormal(size=57)
    found = summarise(times)
    assert found.p90 == np.quantile(np.sort(times)[::-1], 0.9)
    assert found.std == np.std(times, ddof=1)


def timings(wall, cpu, n=30):
    return Timings(wall_ms=np.full(n, wall), cpu_ms=np.full(n, cpu))


def test_verdicts():
    quiet = {"a": timings(1.1, 1.0), "b": timings(2.0, 2.0)}
    steady = {"a/b": Ratio(2.0, 1.95, 2.05)}
    assert why_noisy(quiet, steady, computing="ab") == []

    (reason,) = why_noisy({**quiet, "a": timings(1.21, 1.0)}, steady, computing="ab")
    assert reason.startswith("a: wall p50 1.21 ms, CPU p50 1 ms")
    # With two threads, or on a GPU, wall and CPU time differ by design.
    assert why_noisy({"a": timings(1.0, 0.5)}, {}, computing="") == []

    (reason,) = why_noisy(quiet, {"a/b (cpu)": Ratio(2.0, 1.85, 2.15)}, computing="ab")
    assert reason == "a/b (cpu): ratio 2 has the interval 1.85 to 2.15, 15% wide (at most 10%)"

    reasons = why_noisy({"a": timings(1.0, 1.0, n=19)}, {}, computing="a")
    assert reasons == ["a: 19 rounds, at least 20 needed"]
