"""`compactmtl train`, `runs` and `recipes` as a user types them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import compactmtl
from compactmtl.cli.app import run

SMALL = ("--set", "data.args.num_images=8", "--set", "data.args.num_eval_images=2")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPACTMTL_CACHE", str(cache))


def test_train_then_runs_then_resume(capsys, tmp_path):
    assert run(["train", "rooms-smoke", *SMALL, "--seed", "4", "--json"]) == 0
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert Path(document["checkpoint"]).is_file()
    assert Path(document["run"]).name.endswith("-4")
    assert "epoch 3 debias" in output.err
    assert len(document["history"]) == 3

    assert run(["runs", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["runs"]
    assert [entry["status"] for entry in listed] == ["finished"]
    assert listed[0]["metrics"] == document["metrics"]
    assert run(["runs"]) == 0
    assert Path(document["run"]).name in capsys.readouterr().out

    assert run(["train", "--resume", document["run"]]) == 0
    assert "resumed after epoch 3 of 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["train"], 2, "no RECIPE given"),
        (["train", "rooms-smok"], 2, "did you mean `rooms-smoke`"),
        (["train", "none.toml"], 10, "no such recipe file"),
        (["train", "rooms-smoke", "--set", "train.epcohs=1"], 2, "did you mean `epochs`"),
        (["train", "rooms-smoke", "--precision", "fp8"], 2, "train.precision"),
        (["train", "rooms-smoke", "--device", "cuda:63"], 2, "no `cuda:63`"),
        (["train", "rooms-smoke", "--init", "none.pt"], 10, "none.pt"),
        (["train", "rooms-smoke", "--runs", "file"], 14, "cannot write"),
        (["train", "rooms-smoke", "--logger", "tensorbord"], 2, "did you mean `tensorboard`"),
        (["train", "nuclei-dense", "--data", "nowhere"], 2, "nowhere"),
        (["train", "--resume", "runs/none"], 10, "no such run"),
        (["train", "rooms-smoke", "--resume", "runs/none"], 2, "no RECIPE"),
        (["runs", "none"], 10, "no such folder"),
        (["recipes", "rooms"], 2, "no recipe called"),
    ],
)
def test_bad_input_is_one_line_with_its_own_exit_code(args, code, words, capsys, tmp_path):
    (tmp_path / "file").touch()
    assert run(args) == code
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert lines[-1].startswith(("error: ", "hint: "))
    assert words in output.err
    assert "Traceback" not in output.err
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").glob("*/ckpt.pt"))


def test_recipes_lists_and_prints(capsys, tmp_path):
    assert run(["recipes"]) == 0
    assert "rooms-demo" in capsys.readouterr().out
    assert run(["recipes", "rooms-demo"]) == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert run(["recipes", "rooms-demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["name"] == "rooms-demo"


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGTERM, 75, "error: stopped by SIGTERM in epoch"),
        (signal.SIGINT, 130, "error: interrupted; the last checkpoint is kept"),
    ],
)
def test_a_stopped_run_names_the_command_that_goes_on_with_it(tmp_path, number, code, words):
    folder = tmp_path / "run"
    into = ("--run-dir", str(folder))
    epochs = ("--set", "train.epochs=100000", "--set", "overparam.until=0.1")
    with subprocess.Popen(
        [sys.executable, "-m", "compactmtl", "train", "rooms-smoke", *SMALL, *epochs, *into],
        env=os.environ | {"PYTHONPATH": str(Path(compactmtl.__file__).parents[1])},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not (folder / "ckpt.pt").is_file():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert output == ""
    last = errors[errors.index("error: ") :]
    assert last.startswith(words)
    assert last.strip().endswith(f"go on with: compactmtl train --resume {folder}")
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert document["status"] == "interrupted"
