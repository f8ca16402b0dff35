"""`compactmtl evaluate` on a trained network, its compact model and its ONNX files."""

import contextlib
import io
import json

import numpy as np
import onnx
import pytest
import torch

from compactmtl.cli.app import run
from compactmtl.errors import MissingFileError, UsageError
from compactmtl.evaluation.subjects import open_subjects


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COMPACTMTL_CACHE", str(folder / "cache"))
        for verb in (
            ("train", "rooms-smoke", "--run-dir", "run"),
            ("compress", "run/ckpt.pt", "--prune-zero-channels"),
            ("export", "--no-dense"),
        ):
            with contextlib.redirect_stdout(io.StringIO()):
                assert run([*verb, "--quiet"]) == 0
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COMPACTMTL_CACHE", str(folder / "cache"))
    return folder


def document(capsys, *args):
    capsys.readouterr()
    assert run(["evaluate", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_all_that_belongs_to_a_folder_computes_the_same(here, capsys):
    found = document(capsys, "run", "compact", "-o", "result")
    assert set(found["subjects"]) == {"ckpt.pt", "dense.pt2", "model.pt2", "model.onnx"}
    assert found["baseline"] == "ckpt.pt"
    for name, metrics in found["metrics"].items():
        for task, values in metrics.items():
            assert values == pytest.approx(found["metrics"]["ckpt.pt"][task], rel=1e-4), name
    assert json.loads((here / "result" / "evaluation.json").read_text()) == found
    assert found["num_images"] == 4
    assert found["classes"]["model.onnx"]["seg"].keys() == found["classes"]["ckpt.pt"]["seg"].keys()


def test_a_damaged_artefact_shows(here, capsys, tmp_path):
    model = onnx.load(here / "compact" / "model.onnx")
    weight = next(each for each in model.graph.initializer if each.name.startswith("heads.depth"))
    array = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(array + np.float32(0.3), weight.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    files = ["compact/dense.pt2", str(tmp_path / "wrong.onnx")]
    found = document(capsys, *files, "--limit", "3", "-o", str(tmp_path / "result"))
    assert found["num_images"] == 3
    assert found["rel_rms"]["wrong.onnx"]["depth"] > 0.01
    assert found["rel_rms"]["wrong.onnx"]["seg"] < 1e-5
    drawn = list((tmp_path / "result" / "changed").iterdir())
    assert len(drawn) == 3
    assert all(path.name.endswith("-depth.png") for path in drawn)


def test_a_file_of_a_fixed_batch_is_filled_up(here, tmp_path):
    model = onnx.load(here / "compact" / "model.onnx")
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    batch.Clear()
    batch.dim_value = 3
    onnx.save(model, tmp_path / "fixed.onnx")
    files = [here / "compact/model.onnx", tmp_path / "fixed.onnx"]
    with open_subjects(files, threads=1) as (subjects, _):
        free, fixed = subjects.values()
        images = torch.rand(8, 3, 32, 32)
        for task, value in free.predict(images).items():
            torch.testing.assert_close(fixed.predict(images)[task], value, rtol=0, atol=1e-6)
        with pytest.raises(UsageError, match="fixed to"):
            fixed.predict(torch.rand(1, 4, 32, 32))


def test_wrong_calls_are_one_line(here, capsys, tmp_path):
    onnx_only = tmp_path / "alone.onnx"
    onnx_only.write_bytes((here / "compact" / "model.onnx").read_bytes())
    for args, words, code in (
        (["none.onnx"], "no such file", MissingFileError.exit_code),
        ([str(tmp_path)], "neither a run folder", 2),
        (["compact/model.pt2", "--split", "all"], "expected one of train, val, test", 2),
        (["compact/dense.pt2", "--baseline", "x"], "--baseline x: expected one of dense.pt2", 2),
        (["compact/model.pt2", "--data", "room"], "did you mean `rooms`", 2),
        ([str(onnx_only)], "give --data NAME", 2),
        (["pyproject.toml"], "no such file", MissingFileError.exit_code),
        (["run/log.jsonl"], "nothing runs", 2),
        (["run", "run/ckpt.pt"], "named twice", 2),
    ):
        assert run(["evaluate", *args]) == code, args
        assert words in capsys.readouterr().err, args
