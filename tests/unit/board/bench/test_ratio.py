import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.board.bench import ratio
from compactmtl.board.bench.ratio import paired_ratio, student_t
from compactmtl.board.errors import RunError


@given(st.integers(1, 60), st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_a_constant_ratio_has_an_interval_of_no_width(n, factor, seed):
    noise = np.random.default_rng(seed).lognormal(sigma=0.5, size=n + 1)
    found = paired_ratio(factor * noise, noise)  # what hits a round hits both
    assert found.value == pytest.approx(factor)
    assert found.width < 1e-9


def test_pairing_is_what_cancels_the_noise_of_a_round():
    noise = np.random.default_rng(0).lognormal(sigma=0.5, size=100)
    shuffled = np.random.default_rng(1).permutation(noise)
    assert paired_ratio(3 * shuffled, noise).width > 0.1


@given(st.integers(2, 80), st.integers(0, 2**32 - 1))
def test_the_order_of_the_two_inverts_the_ratio(n, seed):
    a, b = np.random.default_rng(seed).lognormal(size=(2, n))
    forth, back = paired_ratio(a, b), paired_ratio(b, a)
    assert forth.value == pytest.approx(1 / back.value)
    assert forth.low == pytest.approx(1 / back.high)
    assert forth.low <= forth.value <= forth.high


def test_parts_of_the_machines_life_that_are_disturbed_do_not_matter():
    a, b = np.random.default_rng(0).normal(10, 0.1, size=(2, 200))
    a[::5] *= 4  # a fifth of the calls waited for the machine
    assert paired_ratio(1.05 * a, b).value == pytest.approx(1.05, rel=0.01)
    assert np.mean(1.05 * a) / np.mean(b) > 1.5  # a mean of the loop says this


def coverage(draw, *, trials=300, **loads):
    """Return how often the interval holds the true ratio of two equal calls."""
    hits = 0
    for trial in range(trials):
        found = paired_ratio(*draw(np.random.default_rng(trial)), **loads)
        hits += found.low <= 1.0 <= found.high
    return hits / trials


def independent(generator):
    return 10 + generator.gamma(2.0, 1.0, size=(2, 60)) + generator.gamma(1.0, 5.0, size=60)


def drifting(generator, n=60):
    """Each call has noise of its own that lasts for several rounds."""
    noise = generator.normal(size=(2, n))
    for i in range(1, n):
        noise[:, i] += 0.6 * noise[:, i - 1]
    return 20 + noise


def test_equal_calls_are_found_equal_about_as_often_as_stated():
    assert 0.92 <= coverage(independent) <= 0.98
    assert 0.88 <= coverage(drifting) <= 0.98
    # The interval is not so wide that it holds everything: a difference is found.
    a, b = independent(np.random.default_rng(0))
    assert paired_ratio(1.4 * a, b).low > 1.0


def test_parts_are_what_keeps_the_interval_honest_when_noise_lasts(monkeypatch):
    monkeypatch.setattr(ratio, "PARTS", 60)  # each round on its own
    assert coverage(drifting) < 0.85


ROUNDS = [24, 30, 26, 28, 32, 20, 24, 28, 30, 26]
FIRST = [True, False] * 5


def loaded(generator):
    """Loads differ by 1 %, and the first one is 2 % slower; rounds have noise of their own."""
    both = []
    for call in range(2):
        place = np.where(np.array(FIRST) ^ bool(call), 1.02, 1.0)
        level = 5 * place * np.exp(generator.normal(0, 0.01, size=len(ROUNDS)))
        both.append(np.repeat(level, ROUNDS) * np.exp(generator.normal(0, 0.03, sum(ROUNDS))))
    return both


def test_what_loading_settles_is_in_the_interval():
    found = coverage(loaded, load_rounds=ROUNDS, loaded_first=FIRST)
    assert 0.92 <= found <= 0.98

    # One load with the same number of rounds: narrow, and wrong most of the time.
    def one(generator):
        level = 5 * np.exp(generator.normal(0, 0.01, size=(2, 1)))
        return level * np.exp(generator.normal(0, 0.03, size=(2, sum(ROUNDS))))

    assert coverage(one) < 0.6


def test_the_effect_of_the_order_is_not_taken_for_noise():
    a, b = loaded(np.random.default_rng(0))
    known = paired_ratio(a, b, load_rounds=ROUNDS, loaded_first=FIRST)
    unknown = paired_ratio(a, b, load_rounds=ROUNDS)
    assert known.value == pytest.approx(unknown.value)  # balanced: it cancels either way
    assert known.width < unknown.width
    # Where one was first more often, it does not cancel by itself.
    first = [True] * 7 + [False] * 3
    sign = np.repeat(np.where(first, 1.02, 1 / 1.02), ROUNDS)
    times = np.ones(sum(ROUNDS))
    assert paired_ratio(sign, times, load_rounds=ROUNDS, loaded_first=first).value == (
        pytest.approx(1)
    )
    assert paired_ratio(sign, times, load_rounds=ROUNDS).value > 1.005


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (8, 2.3060), (30, 2.0423)]
)
def test_student_against_the_tables(freedom, t):
    assert student_t(freedom) == pytest.approx(t, abs=2e-4)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0, 2.0], [1.0], "at least 2 rounds in pairs, got 2 and 1"),
        ([1.0], [1.0], "got 1 and 1"),
        ([1.0, 0.0], [1.0, 1.0], "too coarse"),
    ],
)
def test_ratios_that_cannot_be(a, b, message):
    with pytest.raises(RunError, match=message):
        paired_ratio(np.array(a), np.array(b))
