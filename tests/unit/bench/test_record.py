import json

import pytest

from compactmtl.bench.record import (
    BenchRecord,
    Candidate,
    CpuTime,
    Latency,
    RatioRecord,
    Settings,
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
    candidate = Candidate(
        file="model.onnx",
        sha256="a" * 64,
        runtime="onnxruntime 1",
        size_bytes=1_500_000,
        macs=2_000_000_000,
        num_params=1234,
        uncounted=["Einsum"],
        load_ms=10.0,
        first_ms=2.0,
        latency_ms=Latency(p50=1.5, p90=2.0, p99=3.0, mean=1.6, min=1.0, std=0.1, n=50),
        cpu_ms=CpuTime(p50=1.4, min=1.0),
    )
    ratio = RatioRecord(cpu=2.0, cpu_interval=(1.9, 2.1), wall=2.2, wall_interval=(2.0, 2.4))
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
        load_average=None,
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
        ({"format_version": 2}, "format version 2, expected 1"),
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
    assert ratio_rows(record) == [["dense/compact", "2.00", "1.90 - 2.10", "2.20", "2.00 - 2.40"]]
    assert len(RATIO_COLUMNS) == 5
    assert title(record) == "onnxruntime 1, 1 thread, input 1x3x4x5"
