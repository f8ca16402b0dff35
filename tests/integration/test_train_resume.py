"""A run that is killed and resumed ends with the weights of one that was not, to the bit.

The runs are real processes that end themselves with SIGKILL: nothing can tidy up after it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import compactmtl
from compactmtl.checkpoint import load_checkpoint, save_checkpoint
from compactmtl.files import read_json
from compactmtl.training import NullReporter, fit, open_run, read_recipe
from compactmtl.training.logs import read_log

SCRIPT = Path(__file__).parents[1] / "support" / "kill_and_resume.py"

# Epochs 1-2 overparam (9 steps: 3 main and 2 for m of each task, m first), 3-5 sparse, 6 debias.
PLANS = {
    "2 steps;2 3,saving 3,3 0": "among the steps for m, half-way through a save in an epoch",
    "1 step;3 2,5 1,6 0": "in the first sparse epoch, a later one, right after zeros are frozen",
    "saving 4,6 2,saved 6": "half-way through a checkpoint, debiasing, and before the last logs",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(compactmtl.__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, SCRIPT, root, "never", *PLANS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def folder_of(runs: Path, plan: str) -> Path:
    return runs / plan.replace(" ", "-").replace(",", "+")


def without_times(row):
    return {key: value for key, value in row.items() if key not in ("seconds", "waited")}


def differing(left: Path, right: Path) -> list[str]:
    """Return the names of the tensors in which two checkpoints differ, optimiser state included."""
    first, second = load_checkpoint(left), load_checkpoint(right)
    assert first.model.keys() == second.model.keys()
    names = [name for name, tensor in first.model.items() if not tensor.equal(second.model[name])]
    states = first.optimizer["main"]["state"]
    for index, state in states.items():
        other = second.optimizer["main"]["state"][index]
        names += [f"{index}.{key}" for key, value in state.items() if not value.equal(other[key])]
    return names


@pytest.mark.parametrize("plan", PLANS, ids=PLANS.values())
def test_a_killed_and_resumed_run_ends_with_the_same_weights(runs: Path, plan: str):
    never, killed = folder_of(runs, "never"), folder_of(runs, plan)
    assert differing(never / "ckpt.pt", killed / "ckpt.pt") == []
    assert list(map(without_times, read_log(killed))) == list(map(without_times, read_log(never)))
    document = read_json(killed / "run.json")
    assert document["status"] == "finished"
    assert document["milestones"] == read_json(never / "run.json")["milestones"]


def test_the_run_went_through_every_phase_and_made_groups_zero(runs: Path):
    log = read_log(folder_of(runs, "never"))
    assert [row["phase"] for row in log][:4] == ["overparam", "overparam", "sparse", "sparse"]
    assert log[-1]["phase"] == "debias"
    assert log[-1]["sparsity"]["zero_groups"] > 0
    assert log[1]["m_reach"]["depth"] > log[0]["m_reach"]["depth"] > 0.0


class StopAfter(NullReporter):
    """Interrupts a run after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def epoch_finished(self, record) -> None:
        if record["epoch"] == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("epoch", "lose"),
    [
        (3, lambda state: zero_momentum(state.optimizer["main"])),
        (3, lambda state: state.schedule.update(current=2.0 * state.schedule["current"])),
        (1, lambda state: zero_momentum(state.optimizer["depth"])),
    ],
    ids=["main-momentum", "schedule", "m-momentum"],
)
def test_the_comparison_notices_state_that_was_lost(runs, tmp_path, monkeypatch, epoch, lose):
    monkeypatch.setenv("COMPACTMTL_CACHE", str(runs / "cache"))
    never, folder = folder_of(runs, "never"), tmp_path / "run"
    recipe = read_recipe(open_run(never))
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, run_dir=folder, reporter=StopAfter(epoch))
    state = load_checkpoint(folder / "ckpt.pt")
    lose(state)
    save_checkpoint(folder / "ckpt.pt", state)
    fit(recipe, run_dir=folder, resume=True)
    assert differing(never / "ckpt.pt", folder / "ckpt.pt")


def zero_momentum(optimizer) -> None:
    for state in optimizer["state"].values():
        state["exp_avg"].zero_()
