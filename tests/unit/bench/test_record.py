import json

import pytest

from compactmtl.bench.record import (
    BenchRecord,
    Candidate,
    InputRecord,
    LoadAverage,
    RatioRecord,
    Settings,
    Spread,
    ThroughputRecord,
    Warmup,
    read_record,
    write_record,
)
from compactmtl.bench.table import (
    CANDIDATE_COLUMNS,
    RATIO_COLUMNS,
    candidate_rows,
    ratio_rows,
    title,
)
from compactmtl.errors import CorruptFileError, MissingFileError


@pytest.fixture
def record():
    wall = Spread(p50=1.5, p90=2.0, p95=2.5, p99=3.0, mean=1.6, min=1.0, std=0.1, n=50)
    candidate = Candidate(
        file="model.onnx",
        sha256="a" * 64,
        runtime="onnxruntime 1",
        device="cpu",
        includes="new arrays for the outputs",
        inputs={"image": InputRecord(shape=[1, 3, 4, 5], dtype="float32")},
        size_bytes=1_500_000,
        macs=2_000_000_000,
        num_params=1234,
        uncounted=["Einsum"],
        load_ms=10.0,
        first_ms=2.0,
        warmup=Warmup(calls=3, seconds=0.5),
        latency_ms=wall,
        cpu_ms=wall.model_copy(update={"p50": 1.4}),
        throughput=ThroughputRecord(calls=10, seconds=0.02, calls_per_s=500.0, samples_per_s=500.0),
        added_rss_mib=None,
        times_ms={"wall": [1.5, 1.6], "cpu": [1.4, 1.4]},
        times_every=25,
    )
    ratio = RatioRecord(
        clock="cpu",
        verdict="ok",
        cpu=2.0,
        cpu_interval=(1.9, 2.1),
        wall=2.2,
        wall_interval=(2.0, 2.4),
    )
    return BenchRecord(
        environment={"cpu": "a processor"},
        settings=Settings(
            device="cpu",
            threads=1,
            batch=1,
            shapes={"image": [1, 3, 4, 5]},
            inputs="random",
            seconds=1.0,
            rounds=50,
        ),
        candidates={"dense": candidate, "compact": candidate},
        ratios={"dense/compact": ratio},
        verdict="ok",
        why=[],
        left_out={},
        load_average=LoadAverage(before=0.5, after=None),
        peak_rss_mib=12.5,
    )


def test_round_trip(tmp_path, record):
    write_record(tmp_path / "bench.json", record)
    assert read_record(tmp_path / "bench.json") == record
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["ratios"]["dense/compact"]["cpu"] == 2.0
    assert document["candidates"]["compact"]["latency_ms"]["p90"] == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 1}, "format version 1, expected 2"),
        ({"format_version": 3}, "format version 3, expected 2"),
        ({"verdict": "maybe"}, "`verdict`"),
        ({"extra": 1}, "`extra`"),
    ],
)
def test_another_schema_is_refused(tmp_path, record, change, message):
    path = tmp_path / "bench.json"
    write_record(path, record)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CorruptFileError, match=message):
        read_record(path)


def test_files_that_are_no_record(tmp_path):
    with pytest.raises(MissingFileError):
        read_record(tmp_path / "bench.json")
    (tmp_path / "bench.json").write_text("[]")
    with pytest.raises(CorruptFileError, match="format version None"):
        read_record(tmp_path / "bench.json")


def test_tables(record):
    rows = candidate_rows(record)
    assert all(len(row) == len(CANDIDATE_COLUMNS) for row in rows)
    assert "2.000+" in rows[0]  # not all MACs are counted
    (row,) = ratio_rows(record)
    assert row == ["dense/compact", "2.00", "1.90 - 2.10", "2.20", "2.00 - 2.40", ""]
    assert len(RATIO_COLUMNS) == len(row)
    assert title(record) == "onnxruntime 1, 1 thread, input 1x3x4x5"


def test_what_is_not_known_is_not_zero_in_a_table(record):
    uncounted = {"macs": None, "num_params": None, "why_not_counted": "nothing counts files .pte"}
    candidate = record.candidates["dense"].model_copy(update=uncounted)
    ratio = record.ratios["dense/compact"].model_copy(update={"verdict": "inconclusive"})
    changed = record.model_copy(
        update={"candidates": {"dense": candidate}, "ratios": {"dense/compact": ratio}}
    )
    (row,) = candidate_rows(changed)
    assert (
        row[CANDIDATE_COLUMNS.index("GMACs")] == row[CANDIDATE_COLUMNS.index("parameters")] == "-"
    )
    assert ratio_rows(changed)[0][-1] == "no difference shown"
