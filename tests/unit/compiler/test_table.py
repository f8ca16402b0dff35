"""The cost table: which kernel, how long, and what a bad file says."""

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactmtl.compiler.cost import MacsCost, WithoutGathers, fast_columns
from compactmtl.compiler.kernels import TERMS, kernel
from compactmtl.compiler.table import CostTable, default_table, not_measured_here
from compactmtl.compiler.tables import DEFAULT
from compactmtl.errors import CorruptFileError, MissingFileError

TABLE = default_table()


@dataclass(frozen=True)
class Shape:
    rows: int
    columns: int
    taps: int = 1
    groups: int = 1
    positions: int = 196
    in_positions: int = 196
    pooled: bool = False


def path(shape: Shape) -> str:
    return kernel(shape, align=TABLE.align, block=TABLE.block)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (Shape(61, 64, 9), "spatial.blocked"),  # only the input channels decide
        (Shape(64, 61, 9), "spatial.plain"),
        (Shape(64, 14, 9), "spatial.direct"),
        (Shape(64, 68), "pointwise.blocked"),
        (Shape(36, 36, 9, groups=36), "depthwise.blocked"),
        (Shape(30, 30, 9, groups=30), "depthwise.plain"),
        (Shape(64, 64, 9, groups=4), "grouped.blocked"),
        (Shape(64, 32, 9, groups=4), "grouped.plain"),
        (Shape(10, 20, positions=1, in_positions=1), "linear"),
    ],
)
def test_kernel(shape, expected):
    assert path(shape) == expected


SHAPES = st.builds(
    Shape,
    rows=st.integers(1, 600),
    columns=st.integers(1, 600),
    taps=st.sampled_from([1, 9, 25]),
    positions=st.sampled_from([1, 49, 784, 3136]),
    in_positions=st.sampled_from([1, 49, 784, 3136]),
)


@settings(deadline=None)
@given(shape=SHAPES, more_rows=st.integers(0, 200), more_columns=st.integers(0, 200))
def test_time_never_falls_with_a_channel_in_one_kernel(shape, more_rows, more_columns):
    multiple = TABLE.align  # what a value's layout costs changes off these multiples
    shape = replace(shape, rows=shape.rows * multiple)
    wider = replace(
        shape,
        rows=shape.rows + more_rows * multiple,
        columns=shape.columns + more_columns * multiple,
    )
    assert TABLE.conv(shape) > 0
    if path(shape) == path(wider):
        assert TABLE.conv(wider) >= TABLE.conv(shape)


@given(st.integers(1, 600), st.integers(1, 150), st.sampled_from([1, 49, 3136]))
def test_time_of_a_gather_never_falls_with_what_it_reads(stored, read, positions):
    read *= TABLE.align
    times = [TABLE.gather(stored=stored, read=r, positions=positions) for r in (read, read + 4)]
    assert 0 < times[0] <= times[1]


def test_an_unaligned_width_between_blocked_layers_pays_for_the_changes_of_layout():
    aligned = TABLE.conv(Shape(64, 64, 9)) * 2
    unaligned = TABLE.conv(Shape(61, 64, 9)) + TABLE.conv(Shape(64, 61, 9))
    assert unaligned > aligned
    # and where whole blocks hold many dead channels, not
    wasted = TABLE.conv(Shape(64, 64, 9)) * 2
    assert TABLE.conv(Shape(33, 64, 9)) + TABLE.conv(Shape(64, 33, 9)) < wasted


def test_what_is_pooled_pays_for_the_changes_of_layout_off_whole_blocks():
    def times(rows: int, *, pooled: bool) -> float:
        return TABLE.conv(Shape(rows, 64, 9, pooled=pooled))

    aligned, whole = (times(rows, pooled=False) for rows in (60, 64))
    assert aligned <= whole == times(64, pooled=True) < times(60, pooled=True)


def test_nothing_costs_nothing():
    assert TABLE.conv(Shape(0, 16)) == TABLE.conv(Shape(16, 0)) == 0
    assert TABLE.gather(stored=16, read=0, positions=49) == 0


def test_the_table_that_ships_is_complete_and_says_how_good_it_is():
    assert set(TABLE.rates) == set(TERMS)
    assert TABLE.accuracy.num >= 1000
    assert 0 < TABLE.accuracy.median < TABLE.accuracy.p90 < 0.25
    assert "onnxruntime" in TABLE.name
    assert "1 thread" in TABLE.device


def test_a_table_survives_the_disk(tmp_path):
    TABLE.save(tmp_path / "a.json")
    assert CostTable.load(tmp_path / "a.json") == TABLE


def test_says_where_it_was_not_measured(monkeypatch):
    models = [TABLE, WithoutGathers(TABLE)]
    runtime = TABLE.runtime.partition(" ")[2]
    monkeypatch.setattr("compactmtl.compiler.table.version", lambda name: runtime)
    monkeypatch.setattr("compactmtl.compiler.table.cpu_model", lambda: TABLE.cpu)
    assert [not_measured_here(model) for model in models] == ["", ""]
    monkeypatch.setattr("compactmtl.compiler.table.cpu_model", lambda: "another")
    for model in models:
        assert not_measured_here(model) == (
            f"tuned for {model.name} on {TABLE.device}, not measured on {TABLE.runtime}, another"
        )
    monkeypatch.setattr("compactmtl.compiler.table.cpu_model", lambda: TABLE.cpu)
    monkeypatch.setattr("compactmtl.compiler.table.version", lambda name: "0.1")
    assert "onnxruntime 0.1" in not_measured_here(TABLE)
    assert not_measured_here(MacsCost()) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 9}, "format_version"),
        ({"block": 0}, "block"),
        ({"rates": {}}, "lack"),
        (
            {"rates": {name: {**terms, "calls": -1.0} for name, terms in TABLE.rates.items()}},
            "rates",
        ),
        ({"more": 1}, "more"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path, change, said):
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(json.loads(DEFAULT.read_text()) | change))
    with pytest.raises(CorruptFileError, match=said) as caught:
        CostTable.load(file)
    assert "\n" not in str(caught.value)


def test_no_table_at_all(tmp_path):
    with pytest.raises(MissingFileError):
        CostTable.load(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(CorruptFileError):
        CostTable.load(tmp_path / "list.json")


@pytest.mark.parametrize("count", range(1, 70))
def test_what_reads_fast_is_the_next_count_that_has_no_plain_kernel(count):
    fast = TABLE.fast_columns(count)
    assert count <= fast < count + TABLE.align
    assert path(Shape(24, fast, 9)) != "spatial.plain"
    assert all(path(Shape(24, few, 9)) == "spatial.plain" for few in range(count, fast))
    assert fast_columns(WithoutGathers(TABLE), count) == fast
    assert fast_columns(MacsCost(), count) == count
    assert TABLE.model_copy(update={"block": 1}).fast_columns(count) == count
