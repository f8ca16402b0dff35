"""``python -m compactmtl.board bench``: the same record as the workstation's."""

import json
import signal

import numpy as np
import pytest

from compactmtl.bench.record import parse_record
from compactmtl.board.command import main

QUICK = ["--seconds", "0", "--rounds", "3"]


@pytest.fixture(autouse=True)
def _own_handlers(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def test_the_document_is_a_record(tmp_path, make_conv, capsys):
    files = [str(make_conv(tmp_path / f"{name}.onnx")) for name in ("dense", "model")]
    images = np.random.default_rng(0).random((2, 3, 16, 24), dtype=np.float32)
    np.savez(tmp_path / "inputs.npz", image=images, source="rooms")
    assert main(["bench", *files, "--batch", "3", *QUICK, "--json"]) == 0
    printed = capsys.readouterr()
    record = parse_record(json.loads(printed.out), "stdout")
    assert list(record.candidates) == ["dense", "model"]
    assert list(record.ratios) == ["dense/model"]
    assert record.settings.shapes == {"image": [3, 3, 16, 24]}
    assert record.settings.inputs == "inputs.npz (rooms)"
    assert record.candidates["dense"].macs is None  # what a board cannot count is not zero
    assert record.environment["packages"]["onnxruntime"]
    assert "dense/model: " in printed.err
    assert "verdict: noisy" in printed.err


def test_for_a_person_it_prints_lines(tmp_path, make_conv, capsys):
    path = make_conv(tmp_path / "model.onnx")
    assert main(["bench", str(path), "--size", "8x12", *QUICK]) == 0
    assert capsys.readouterr().out.startswith("model: p50 ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.onnx"], 10, "no such file"),
        (["notes.txt"], 2, "nothing runs `notes.txt`"),
        (["model.onnx", "--size", "8x8:9x9:9x9"], 2, "is a range"),
        (["model.onnx", "--rounds", "0"], 2, "rounds"),
        (["model.onnx", "--time-limit", "0"], 2, "time limit"),
        (["model.onnx"], 2, "free dimension"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    tmp_path, make_conv, capsys, monkeypatch, arguments, code, words
):
    make_conv(tmp_path / "model.onnx")
    (tmp_path / "notes.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == code
    error = capsys.readouterr().err.splitlines()[0]
    assert error.startswith("error: ")
    assert words in error
