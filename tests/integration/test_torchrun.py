"""Two processes train as one does that works on the same halves of batches: on CPUs, by gloo."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import compactmtl
from compactmtl.checkpoint import load_checkpoint
from compactmtl.training.logs import read_log

SCRIPT = Path(__file__).parents[1] / "support" / "train_together.py"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
NEAR = {"rtol": 1e-6, "atol": 1e-6}
SMALL = [
    *("--set", "data.args.num_images=8", "--set", "data.args.num_eval_images=2"),
    *("--set", "data.args.height=32", "--set", "data.args.width=48", "--device", "cpu"),
]  # fmt: skip


def start(*command, **settings) -> subprocess.Popen:
    environment = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(compactmtl.__file__).parents[1]),
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [*map(str, command)], env=os.environ | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings,
    )  # fmt: skip


def run(*command, **settings) -> tuple[int, str]:
    """Return the exit code and all that was printed."""
    with start(*command, **settings) as process:
        output, errors = process.communicate(timeout=400)
    return process.returncode, output + errors


def train(*given) -> None:
    code, output = run(sys.executable, SCRIPT, *given)
    assert code == 0, output


def check_equal(left: Path, right: Path) -> None:
    """Compare weights, statistics, the state of all optimisers, zeros, losses and metrics."""
    one, two = load_checkpoint(left / "ckpt.pt"), load_checkpoint(right / "ckpt.pt")
    assert one.model.keys() == two.model.keys()
    for name, value in one.model.items():
        torch.testing.assert_close(value, two.model[name], **NEAR)
        assert torch.equal(value == 0, two.model[name] == 0)
    for optimizer, saved in one.optimizer.items():
        for index, state in saved["state"].items():
            for key, value in state.items():
                other = two.optimizer[optimizer]["state"][index][key]
                torch.testing.assert_close(value, other, **NEAR)
    for name, value in one.weighting.items():
        torch.testing.assert_close(value, two.weighting[name], equal_nan=True, **NEAR)
    for row, other in zip(read_log(left), read_log(right), strict=True):
        for key in ("loss", "val"):
            torch.testing.assert_close(row[key], other[key], **NEAR)
        assert row["sparsity"] == other["sparsity"]


def test_two_processes_equal_one_that_accumulates_their_halves(tmp_path):
    train("--fork", "2,1", tmp_path, "fac")
    check_equal(tmp_path / "2" / "fac", tmp_path / "1" / "fac")
    log = read_log(tmp_path / "2" / "fac")
    assert [row["phase"] for row in log] == ["overparam", "overparam", "sparse", "debias"]
    assert 0 < log[-1]["sparsity"]["zero_groups"] < log[-1]["sparsity"]["num_groups"]
    assert log[1]["m_reach"]["depth"] > 0


OTHERS = [
    *("target", "both", "repvgg", "uncertainty", "dwa", "rlw", "layout"),
    *("plain", "plain-gls", "plain-minibatch"),
]  # fmt: skip


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("together")
    code, output = run(*TORCHRUN, SCRIPT, root / "2", *OTHERS)
    assert code == 0, output
    train("--fork", "1", root, *OTHERS)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHERS)
def test_torchrun_and_one_process_agree(together, case):
    check_equal(together / "2" / case, together / "1" / case)


@pytest.mark.slow
def test_a_mean_over_what_is_labelled_in_each_part_would_be_noticed(tmp_path):
    train("--fork", "2", tmp_path, "dwa", "local")
    with pytest.raises(AssertionError):
        check_equal(tmp_path / "2" / "dwa", tmp_path / "2" / "local")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "then", "step"),
    [  # 5 steps in each of the first two epochs, of which 2 for m alone; 3 in the later ones
        ("2", "1", 4),  # among the main steps
        ("1", "2", 5),  # after the last step, before the epoch is evaluated
        ("2", "1", 12),  # sparse
    ],
)
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, first, then, step):
    train("--fork", "1", tmp_path / "whole", "fac")
    code, output = run(sys.executable, SCRIPT, "--fork", first, tmp_path, f"fac:stop={step}")
    assert code == 75, output
    (tmp_path / first).rename(tmp_path / then)
    code, output = run(sys.executable, SCRIPT, "--fork", then, tmp_path, "fac:resume")
    assert code == 0, output
    check_equal(tmp_path / "whole" / "1" / "fac", tmp_path / then / "fac")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_with_zeros_kept(tmp_path):
    train("--fork", "2", tmp_path / "whole", "fac")
    for step, epoch in ((12, 3), (15, 4)):  # sparse, debias
        folder = tmp_path / str(step)
        code, output = run(sys.executable, SCRIPT, "--fork", "2", folder, f"fac:stop={step}")
        assert code == 75, output
        assert f"rank 0: StoppedError: stopped by a signal to another process in epoch {epoch}" in (
            output
        )
        train("--fork", "2", folder, "fac:resume")
        check_equal(tmp_path / "whole" / "2" / "fac", folder / "2" / "fac")


@pytest.mark.slow
def test_processes_with_other_data_are_refused(tmp_path):
    code, output = run(sys.executable, SCRIPT, "--fork", "2", tmp_path, "smaller")
    assert code == 16
    assert "differ in the number of training images: 20 on rank 0, 18 on rank 1" in output
    assert not (tmp_path / "2" / "smaller").exists()


@pytest.mark.slow
def test_processes_with_other_zeros_are_refused_and_nothing_is_saved(tmp_path):
    code, output = run(sys.executable, SCRIPT, "--fork", "2", tmp_path, "torn")
    assert code == 17
    assert re.search(r"differ in which groups of `.+` are zero \(\d+ of \d+\) in epoch 3", output)
    assert load_checkpoint(tmp_path / "2" / "torn" / "ckpt.pt").epoch == 2


@pytest.mark.slow
def test_what_a_user_types_prints_and_writes_once_and_goes_on_after_sigterm(tmp_path):
    folder = tmp_path / "run"
    typed = ["train", "rooms-smoke", *SMALL, "--set", "train.epochs=2000", "--run-dir", folder]
    with start(*TORCHRUN, "-m", "compactmtl", *typed, cwd=tmp_path) as process:
        deadline = time.monotonic() + 300
        while not (folder / "ckpt.pt").is_file():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert errors.count("run folder: ") == 1
    assert errors.count("stopped by") == 1, errors
    assert "go on with: torchrun --nproc-per-node 2 -m compactmtl train --resume" in errors
    assert load_checkpoint(folder / "ckpt.pt").position["step"] > 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "ckpt.pt", "log.csv", "log.jsonl", "recipe.toml", "run.json"
    ]  # fmt: skip


@pytest.mark.slow
def test_an_error_of_another_process_is_printed_with_its_rank(tmp_path):
    command = ["train", "rooms-smoke", "--set", "data.batch_size=5", *SMALL, "--json"]
    code, output = run(*TORCHRUN, "-m", "compactmtl", *command, cwd=tmp_path)
    assert code != 0
    assert "rank 1: error: a batch of 5 samples cannot be divided into 2 equal parts" in output
    assert not list((tmp_path / "runs").iterdir())
