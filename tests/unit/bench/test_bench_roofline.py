"""The roofline and the counts in the record of a bench."""

from importlib import import_module

import numpy as np
import pytest

from compactmtl.bench import bench
from compactmtl.bench.candidates import choose
from compactmtl.bench.onnx_graph import count_onnx
from compactmtl.bench.record import read_record, write_record
from compactmtl.bench.with_roofline import with_roofline
from compactmtl.cli.app import run


@pytest.fixture(autouse=True)
def small_probes(monkeypatch):
    probes = import_module("compactmtl.bench.machine")
    monkeypatch.setattr(probes, "CONVOLUTIONS", ((16, 8, 3),))
    monkeypatch.setattr(probes, "ADDED_BYTES", (2**12,))
    monkeypatch.setattr(import_module("compactmtl.bench.kernel_times"), "MAX_RUNS", 30)


def test_what_is_counted_is_in_the_record(folder):
    record = bench(folder, seconds=0.0, rounds=3)
    found = record.candidates["compact"]
    image = {"image": np.zeros((1, 3, 24, 32), np.float32)}
    counted = count_onnx(folder / "model.onnx", image)
    assert found.flops == 2 * found.macs == counted.flops
    assert found.weights_bytes == counted.weights_bytes
    assert found.peak_activation_bytes == counted.peak_activation_bytes
    assert tuple(found.layers) == counted.layers
    assert record.roofline is None


def test_the_roofline_is_in_the_record_and_reads_back_equal(folder, tmp_path):
    record = bench(folder, seconds=0.0, rounds=3, roofline=True)
    assert list(record.roofline.artefacts) == ["dense", "compact"]
    rows = record.roofline.artefacts["compact"].rows
    assert [row.name for row in rows if row.kind == "layer"] == ["first", "head"]
    assert record.roofline.artefacts["compact"].run_us == pytest.approx(
        1e3 * record.candidates["compact"].cpu_ms.p50
    )
    write_record(tmp_path / "bench.json", record)
    assert read_record(tmp_path / "bench.json") == record


def test_the_verb_prints_what_loses_time(folder, capsys):
    assert run(["bench", str(folder), "--seconds", "0", "--rounds", "3", "--roofline"]) == 0
    out, err = capsys.readouterr()
    assert "where the time goes" in out
    assert "whole run" in out
    assert "GMAC/s in float32" in err


def test_what_computed_elsewhere_is_not_held_against_the_cpu(folder):
    record = bench(folder, seconds=0.0, rounds=3)
    dense, compact = record.candidates.values()
    moved = record.model_copy(
        update={"candidates": {"dense": dense, "c": compact.model_copy(update={"device": "cuda"})}}
    )
    files = {"dense": folder / "dense.onnx", "c": folder / "model.onnx"}
    found = with_roofline(moved, files, choose(folder).stored).roofline
    assert list(found.artefacts) == ["dense"]
    assert "computed on cuda" in found.left_out["c"]
