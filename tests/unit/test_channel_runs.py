import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.channel_runs import from_runs, to_runs


@given(st.sets(st.integers(0, 60)))
def test_there_and_back(channels):
    assert from_runs(to_runs(sorted(channels))) == sorted(channels)


@pytest.mark.parametrize(
    ("channels", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 5, 7, 8], "0-2, 5, 7-8")]
)
def test_neighbours_are_one_run(channels, text):
    assert to_runs(channels) == text
