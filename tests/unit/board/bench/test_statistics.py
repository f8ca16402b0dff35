import numpy as np
import pytest

from compactmtl.board.bench import statistics
from compactmtl.board.bench.statistics import Ratio, ratio_of_medians, summarise, why_noisy
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


def test_a_constant_ratio_has_an_interval_of_no_width():
    noise = np.random.default_rng(0).lognormal(sigma=0.5, size=100)
    found = ratio_of_medians(3 * noise, noise)  # what hits a round hits both
    assert found.value == pytest.approx(3)
    assert found.width < 1e-12
    shuffled = np.random.default_rng(1).permutation(noise)
    assert ratio_of_medians(3 * shuffled, noise).width > 0.1  # pairing is what did it


def test_the_order_of_the_two_inverts_the_ratio():
    generator = np.random.default_rng(0)
    a, b = generator.lognormal(size=(2, 60))
    forth, back = ratio_of_medians(a, b), ratio_of_medians(b, a)
    assert forth.value == pytest.approx(1 / back.value)
    assert forth.low == pytest.approx(1 / back.high, rel=0.05)


def coverage(draw, *, trials=150, n=60):
    """Return how often the interval holds the true ratio of two equal calls."""
    hits = 0
    for trial in range(trials):
        a, b = draw(np.random.default_rng(trial), n)
        found = ratio_of_medians(a, b, seed=trial)
        hits += found.low <= 1.0 <= found.high
    return hits / trials


def independent(generator, n):
    return 10 + generator.gamma(2.0, 1.0, size=(2, n)) + generator.gamma(1.0, 5.0, size=n)


def drifting(generator, n):
    """Each call has noise of its own that lasts for several rounds."""
    noise = generator.normal(size=(2, n))
    for i in range(1, n):
        noise[:, i] += 0.6 * noise[:, i - 1]
    return 20 + noise


def test_equal_calls_are_found_equal_about_as_often_as_stated(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 400)
    assert 0.90 <= coverage(independent) <= 1.0
    # The interval is not so wide that it holds everything: a difference of 10 % is found.
    generator = np.random.default_rng(0)
    a, b = independent(generator, 60)
    assert ratio_of_medians(1.2 * a, b).low > 1.0


def test_blocks_are_what_keeps_the_interval_honest_when_noise_lasts(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 400)
    with_blocks = coverage(drifting)
    monkeypatch.setattr(statistics, "EXPONENT", 0.0)  # blocks of one round
    assert with_blocks > coverage(drifting)
    assert with_blocks > 0.8


def test_long_measurements_are_drawn_in_parts(monkeypatch):
    times = np.random.default_rng(0).lognormal(size=(2, 300))
    whole = ratio_of_medians(*times)
    monkeypatch.setattr(statistics, "MAX_DRAWN", 1000)
    parts = ratio_of_medians(*times)
    assert parts.value == whole.value
    assert parts.low == pytest.approx(whole.low, rel=0.05)
    assert parts.high == pytest.approx(whole.high, rel=0.05)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0, 2.0], [1.0], "rounds in pairs, got 2 and 1"),
        ([], [], "got 0 and 0"),
        ([1.0, 0.0], [1.0, 1.0], "too coarse"),
    ],
)
def test_ratios_that_cannot_be(a, b, message):
    with pytest.raises(RunError, match=message):
        ratio_of_medians(np.array(a), np.array(b))


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
