"""The whole bench on real ONNX files; nothing timed is asserted."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compactmtl.bench import bench
from compactmtl.bench.record import read_record
from compactmtl.board.sessions import open_session
from compactmtl.cli.app import run
from compactmtl.errors import (
    BenchError,
    CorruptFileError,
    NonFiniteError,
    NotPossibleHereError,
    UsageError,
)
from compactmtl.files import sha256

QUICK = {"seconds": 0.0, "rounds": 4}  # one round for each load


def test_a_folder(folder):
    rounds = []
    record = bench(folder, **QUICK, on_round=lambda: rounds.append(1))
    assert len(rounds) == 4
    assert list(record.candidates) == ["dense", "compact"]
    dense, compact = record.candidates.values()
    assert (dense.file, compact.file) == ("dense.onnx", "model.onnx")
    assert compact.sha256 == sha256(folder / "model.onnx")
    assert compact.size_bytes == (folder / "model.onnx").stat().st_size
    assert compact.macs == 24 * 32 * (4 * 27 + 2 * 4)
    assert dense.num_params == 32 * 27 + 32 + 64
    assert dense.latency_ms.n == 4
    assert 0 < dense.latency_ms.min <= dense.latency_ms.p50 <= dense.latency_ms.p99
    assert dense.load_ms > 0 < dense.first_ms
    assert dense.runtime == f"onnxruntime {ort.__version__}"
    assert dense.latency_ms.p90 <= dense.latency_ms.p95 <= dense.latency_ms.p99
    assert (dense.loads, dense.warmup.calls) == (4, 4)
    assert (dense.device, dense.device_ms) == ("cpu", None)
    assert dense.throughput.calls >= 3
    assert dense.inputs["image"].shape == [1, 3, 24, 32]
    assert {clock: len(times) for clock, times in dense.times_ms.items()} == {"wall": 4, "cpu": 4}
    assert "pre- and postprocessing" in dense.includes
    ratio = record.ratios["dense/compact"]
    assert ratio.cpu_interval[0] <= ratio.cpu <= ratio.cpu_interval[1]
    assert list(record.left_out) == ["old.onnx"]
    assert record.settings.shapes == {"image": [1, 3, 24, 32]}
    assert record.settings.inputs == "inputs.npz (rooms, val)"
    assert record.verdict == "noisy"  # four rounds prove nothing
    assert "dense: 4 rounds, at least 20 needed" in record.why


def test_files_batch_size_and_threads(folder):
    files = [folder / name for name in ("model.onnx", "old.onnx", "dense.onnx")]
    record = bench(files, batch=2, size=(16, 20), threads=2, **QUICK)
    assert list(record.candidates) == ["model", "old", "dense"]
    assert list(record.ratios) == ["model/old", "model/dense"]
    assert record.settings.shapes == {"image": [2, 3, 16, 20]}
    assert record.settings.threads == 2


def test_one_candidate_has_no_ratio(folder):
    assert bench(folder / "model.onnx", size=(8, 8), **QUICK).ratios == {}


def test_a_model_that_computes_nothing_is_not_timed(tmp_path, model):
    onnx.save(model(factor=float("nan")), tmp_path / "nan.onnx")
    with pytest.raises(NonFiniteError, match=r"output `seg` of .*nan\.onnx.* NaN or Inf"):
        bench(tmp_path / "nan.onnx", size=(8, 8), **QUICK)


def test_bad_targets(tmp_path, folder):
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(CorruptFileError, match=r"bad\.onnx"):
        bench(tmp_path / "bad.onnx", size=(8, 8), **QUICK)
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(UsageError, match=r"nothing runs `notes\.txt`"):
        bench(tmp_path / "notes.txt", **QUICK)
    model = onnx.load(folder / "model.onnx")
    del model.graph.node[0].attribute[:]  # no padding: two pixels are too few for three taps
    onnx.save(model, tmp_path / "small.onnx")
    with pytest.raises(BenchError, match="cannot run"):
        bench(tmp_path / "small.onnx", size=(2, 2), **QUICK)


@pytest.mark.parametrize("setting", [{"threads": 0}, {"batch": 0}, {"rounds": 0}, {"seconds": -1}])
def test_settings_out_of_range(folder, setting):
    with pytest.raises(UsageError, match=next(iter(setting))):
        bench(folder, **(QUICK | setting))


@pytest.mark.parametrize(
    ("device", "probed"), [("jetson", "/proc/device-tree/model"), ("cuda", "libcuda")]
)
def test_other_devices_say_what_was_probed(folder, device, probed):
    with pytest.raises(NotPossibleHereError, match=probed) as error:
        bench(folder, device=device, **QUICK)
    assert error.value.exit_code == 2


def test_the_verb_prints_a_table_and_writes_the_record(folder, capsys):
    code = run(["bench", str(folder), "--seconds", "0", "--rounds", "2"])
    captured = capsys.readouterr()
    assert code == 0
    assert "dense/compact" in captured.out
    assert "left out old.onnx" in captured.err
    assert "verdict: noisy" in captured.err
    assert list(read_record(folder / "bench.json").candidates) == ["dense", "compact"]


def test_the_verb_on_files_in_json(folder, tmp_path, capsys):
    args = ["bench", *(str(folder / name) for name in ("dense.onnx", "model.onnx"))]
    args += ["--size", "8x12", "--seconds", "0", "--rounds", "2", "--json"]
    assert run([*args, "--out", str(tmp_path / "ab.json")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["shapes"] == {"image": [1, 3, 8, 12]}
    assert read_record(tmp_path / "ab.json").model_dump(mode="json") == document
    assert not (folder / "bench.json").exists()


@pytest.mark.parametrize("size", ["96", "0x8", "axb", "8x"])
def test_a_size_that_is_none(folder, size, capsys):
    assert run(["bench", str(folder), "--size", size]) == 2
    assert "HEIGHTxWIDTH" in capsys.readouterr().err


def test_the_bench_does_not_import_torch():
    code = "import sys, compactmtl.bench.run; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_outputs_of_the_runner_are_the_models(folder):
    loaded = open_session(folder / "model.onnx", threads=1)
    image = np.random.default_rng(1).random((2, 3, 6, 7), dtype=np.float32)
    session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        loaded({"image": image})["seg"], session.run(None, {"image": image})[0], atol=1e-6
    )
    assert loaded.inputs[0].shape == ("batch", 3, "height", "width")


def test_a_paced_run_is_in_the_record_and_misses_are_an_error(folder, tmp_path, capsys):
    command = ["bench", str(folder / "model.onnx"), "--seconds", "0", "--rounds", "4"]
    pace = ["--rate", "100", "--duration", "0.05s", "--out", str(tmp_path / "r.json")]
    assert run([*command, *pace, "--deadline-ms", "1e6", "--max-misses", "0"]) == 0
    assert "model at 100 frames/s for 0.05 s: 0 of 5 missed" in capsys.readouterr().out
    assert read_record(tmp_path / "r.json").paced.found.num_frames == 5
    assert run([*command, *pace, "--deadline-ms", "1e-9", "--max-misses", "4", "--json"]) == 1
    printed = capsys.readouterr()
    assert "missed 5 of 5 frames, at most 4 accepted" in printed.err
    assert json.loads(printed.out)["paced"]["verdict"] == "missed"  # one document
    assert read_record(tmp_path / "r.json").paced.verdict == "missed"  # written all the same
    assert run([*command, "--rate", "100"]) == 2
    assert "--deadline-ms" in capsys.readouterr().err
    assert run(["bench", str(folder), *pace, "--deadline-ms", "1"]) == 2
    assert "one file, got 2" in capsys.readouterr().err
