"""Colours."""

import numpy as np
import pytest

from compactmtl.multitask import colours


@pytest.mark.parametrize("num", [2, 13, 40, 150])
def test_palette_has_distinct_colours(num):
    table = colours.palette(num)
    assert table.shape == (num, 3)
    assert len(np.unique(table, axis=0)) == num


@pytest.mark.parametrize("table", [colours.TURBO, colours.VIRIDIS])
def test_table_is_smooth(table):
    assert table.shape == (256, 3)
    assert np.abs(np.diff(table.astype(int), axis=0)).max() <= 12


def test_scale_clips_beyond_its_range():
    drawn = colours.scale(np.array([[-5.0, 0.0, 1.0, 9.0]]), (0.0, 1.0), colours.VIRIDIS)
    assert (drawn[0, 0] == drawn[0, 1]).all()
    assert (drawn[0, 2] == drawn[0, 3]).all()
    assert (drawn[0, 1] == colours.VIRIDIS[0]).all()
    assert (drawn[0, 2] == colours.VIRIDIS[-1]).all()
