"""The axis of lambda: logarithmic, and 0 is on it, too."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.report.lambda_axis import lambda_axis, lambda_colours, lambda_text, places

LAMS = st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=12, unique=True).map(sorted)


@given(LAMS, st.booleans())
def test_every_strength_has_a_place_in_the_range_and_zero_stands_left(lams, zero):
    lams = [0.0, *lams] if zero else lams
    at = places(lams)
    low, high = lambda_axis(lams)["range"]
    assert [at[lam] for lam in lams] == sorted(at[lam] for lam in lams)
    assert all(low < math.log10(place) < high for place in at.values())
    assert all(at[lam] == lam for lam in lams if lam)
    axis = lambda_axis(lams)
    assert len(axis["tickvals"]) == len(axis["ticktext"])
    assert len(set(lambda_colours(lams))) == len(lams)


def test_zero_alone_can_be_drawn():
    axis = lambda_axis([0.0])
    assert axis["ticktext"] == ["0"]
    assert axis["range"][0] < axis["range"][1]


@pytest.mark.parametrize(
    ("lam", "text"),
    [
        (0.0, "0"), (0.01, "0.01"), (1.0, "1"), (30.0, "30"),
        (1e-5, "10<sup>\N{MINUS SIGN}5</sup>"), (3e-4, "3·10<sup>\N{MINUS SIGN}4</sup>"),
    ],
)  # fmt: skip
def test_strengths_are_written_short(lam, text):
    assert lambda_text(lam) == text
