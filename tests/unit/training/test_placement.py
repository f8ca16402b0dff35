"""channels_last and torch.compile change how a run computes, and not what it learns."""

import os
import subprocess
import sys

import pytest
import torch

from compactmtl.checkpoint import load_checkpoint
from compactmtl.training.feed import SLOW_SECONDS, Feed
from compactmtl.training.placement import as_run

PHASES = {
    "overparam": {"until": 0.25, "m_lr": 0.02, "subset": 0.5},
    "sparsity": {"schedule": "constant", "lam": 0.3, "start": 0.5, "stop": 0.75},
}


def losses(result):
    return [loss for record in result.history for loss in record["loss"].values()]


class StopAfter:
    """A reporter that ends the run after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def __getattr__(self, name):
        return lambda *args: None

    def epoch_finished(self, record):
        if record["epoch"] == self.epoch:
            raise KeyboardInterrupt


def test_channels_last_learns_the_same_in_every_phase_and_resumes_to_the_bit(train, tmp_path):
    settings = {"train": {"epochs": 4, "channels_last": True}, **PHASES}
    plain = train(train={"epochs": 4}, **PHASES)
    last = train(fit_args={"run_dir": tmp_path / "whole"}, **settings)
    torch.testing.assert_close(losses(last), losses(plain), rtol=1e-3, atol=1e-4)
    assert losses(last) != losses(plain)  # other kernels did run
    assert all(parameter.is_contiguous() for parameter in last.model.parameters())

    folder = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        train(fit_args={"run_dir": folder, "reporter": StopAfter(1)}, **settings)
    resumed = train(fit_args={"run_dir": folder, "resume": True}, **settings)
    expected = load_checkpoint(last.checkpoint_path).model
    for name, value in load_checkpoint(resumed.checkpoint_path).model.items():
        assert torch.equal(value, expected[name]), name


def test_weights_are_laid_out_in_place_and_stay_the_same_parameters(make_recipe):
    net = torch.nn.Conv2d(3, 4, 3)
    weight = net.weight
    assert as_run(net, make_recipe(train={"channels_last": True}).train) is net
    assert net.weight is weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_waiting_for_data_is_said_when_it_is_much():
    feed = object.__new__(Feed)
    feed.recipe = type("R", (), {"data": type("D", (), {"num_workers": 0})})
    for waited, seconds, said in ((1.0, 2.0, False), (30.0, 200.0, False), (30.0, 100.0, True)):
        feed.waited = waited
        assert (feed.why_slow(seconds) is not None) is said
    assert "raise data.num_workers (now 0)" in feed.why_slow(100.0)
    assert SLOW_SECONDS == 2.0


@pytest.mark.slow
def test_a_compiled_run_learns_the_same_in_every_phase(train):
    sections = {"model": {"name": "segnet", "args": {"widths": [4]}}, **PHASES}
    plain = train(train={"epochs": 4}, **sections)
    compiled = train(train={"epochs": 4, "compile": True}, **sections)
    torch.testing.assert_close(losses(compiled), losses(plain), rtol=1e-3, atol=1e-4)
    state = load_checkpoint(compiled.checkpoint_path).model
    assert state.keys() == load_checkpoint(plain.checkpoint_path).model.keys()


@pytest.mark.slow
def test_without_a_compiler_the_first_check_says_so(tmp_path):
    code = (
        "import torch\n"
        "from compactmtl.errors import NotPossibleHereError\n"
        "from compactmtl.training.placement import check_compiler\n"
        "try:\n"
        "    check_compiler(torch.device('cpu'))\n"
        "except NotPossibleHereError as error:\n"
        "    print(error.message, error.hint, sep='|')\n"
    )
    environment = {**os.environ, "PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    environment.pop("CXX", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    message, hint = done.stdout.strip().split("|")
    assert message.startswith("train.compile: torch.compile does not work on cpu here: ")
    assert "compiler" in message.lower()
    assert hint == "install a C++ compiler (g++), or set train.compile to false"
