import dataclasses

import numpy as np
import pytest

from compactmtl.report.collect import collect
from compactmtl.report.streams import (
    CELLS,
    IDLE,
    READ,
    REMOVED,
    STORED,
    WRITTEN,
    cells,
    stream_map,
    streams_section,
)

STREAM = {
    "name": "a to <b>",
    "num_channels": 6,
    "stored": "0-3",
    "rows": [
        {"layer": "a", "does": "write", "channels": "0-2", "idle": "3"},
        {"layer": "<b>", "does": "read", "channels": "2-3", "idle": ""},
        {"layer": "c", "does": "read", "channels": "2", "idle": "0"},
    ],
}


def test_a_cell_says_what_a_layer_does_with_a_channel():
    expected = [
        [WRITTEN, WRITTEN, WRITTEN, IDLE, REMOVED, REMOVED],
        [STORED, STORED, READ, READ, REMOVED, REMOVED],
        [IDLE, STORED, READ, STORED, REMOVED, REMOVED],
    ]
    np.testing.assert_array_equal(cells(STREAM), expected)


def test_the_channels_that_most_layers_read_stand_first_and_the_removed_last():
    (heatmap,) = stream_map(STREAM).data
    order = heatmap.customdata[0].tolist()
    assert order[:2] == [2, 3]
    assert sorted(order[2:4]) == [0, 1]
    assert sorted(order[4:]) == [4, 5]
    np.testing.assert_array_equal(heatmap.z, cells(STREAM)[:, order])
    assert len(heatmap.colorscale) == 2 * len(CELLS)


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (None, "no why.json"),
        ({"streams": []}, "no layers add up"),
        ({"streams": [STREAM]}, "4 of 6 channels are stored; 1 of them"),
    ],
)
def test_the_section_draws_what_there_is(why, said, complete):
    text = streams_section(dataclasses.replace(collect(complete[0]), why=why))
    assert said in text
    assert "<b>" not in text
