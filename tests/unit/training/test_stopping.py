"""SIGTERM and SIGUSR1 end a run after a step; it goes on to the same weights, to the bit."""

import os
import signal

import pytest
import torch

from compactmtl.checkpoint import load_checkpoint, save_checkpoint
from compactmtl.errors import CorruptFileError, StoppedError, TrainingError
from compactmtl.files import read_json
from compactmtl.training import NullReporter
from compactmtl.training.interrupt import StopRequest, stop_on_signal

OVERPARAM = {"until": 0.5, "subset": 0.5}
SPARSE = {"schedule": "ramp", "lam": 0.3, "start": 0.5, "stop": 0.75}
PHASES = {"train": {"epochs": 4}, "overparam": OVERPARAM, "sparsity": SPARSE}
"""Epochs 1-2 overparam (8 steps: 2 for m of each of two tasks, then 4), 3 sparse, 4 debias."""


class Signalled(NullReporter):
    """Sends its own process a signal after a step of an epoch."""

    def __init__(self, epoch: int, step: int, number: int = signal.SIGUSR1) -> None:
        self.at, self.now, self.done, self.number = (epoch, step), 0, 0, number
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def epoch_started(self, epoch, phase, num_steps) -> None:
        self.now, self.done = epoch, 0

    def step(self, losses) -> None:
        self.done += 1
        if (self.now, self.done) == self.at:
            os.kill(os.getpid(), self.number)


def differing(left, right) -> list[str]:
    """Return where two checkpoints differ, the state of all optimisers included."""
    one, two = load_checkpoint(left), load_checkpoint(right)
    names = [name for name, value in one.model.items() if not value.equal(two.model[name])]
    for optimizer, saved in one.optimizer.items():
        for index, state in saved["state"].items():
            other = two.optimizer[optimizer]["state"][index]
            names += [f"{optimizer}.{index}.{k}" for k, v in state.items() if not v.equal(other[k])]
    without = [
        [{k: v for k, v in row.items() if k not in ("seconds", "waited")} for row in state.history]
        for state in (one, two)
    ]
    return names + ["history"] * (without[0] != without[1])


def stop_and_go_on(train, tmp_path, places, /, **sections):
    """Return where a run that is stopped at these places differs from one that is not."""
    fit_args = sections.pop("fit_args", {})
    train(fit_args={**fit_args, "run_dir": tmp_path / "whole"}, **sections)
    cut = {**fit_args, "run_dir": tmp_path / "cut"}
    for number, place in enumerate(places):
        with pytest.raises(StoppedError):
            train(fit_args={**cut, "resume": number > 0, "reporter": Signalled(*place)}, **sections)
    assert load_checkpoint(tmp_path / "cut" / "ckpt.pt").position["step"] > 0
    train(fit_args={**cut, "resume": True}, **sections)
    return differing(tmp_path / "whole" / "ckpt.pt", tmp_path / "cut" / "ckpt.pt")


# A place is an epoch and a step, counted from where the run went on.
@pytest.mark.parametrize(
    ("places", "sections"),
    [
        ([(1, 1), (1, 4), (2, 6)], PHASES),
        pytest.param([(3, 2), (4, 1), (4, 3)], PHASES, marks=pytest.mark.slow),
        pytest.param(
            [(1, 2), (3, 3)], {**PHASES, "data": {"num_workers": 2}}, marks=pytest.mark.slow
        ),
        pytest.param(
            [(1, 3), (3, 2)],
            {**PHASES, "train": {"epochs": 4, "accumulate": 2}},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [(1, 2)], {"overparam": {"iterative": "minibatch"}}, marks=pytest.mark.slow
        ),
        *(
            pytest.param([(1, 2), (2, 3)], {"weighting": {"name": name}}, marks=pytest.mark.slow)
            for name in ("uncertainty", "dwa", "rlw", "gls")
        ),
        # The target is reached in the middle of an epoch, and the stop comes after it.
        pytest.param(
            [(2, 3), (3, 1)],
            {"train": {"epochs": 4}, "sparsity": {"target": 0.05, "lam": 1.0, "stop": 0.9}},
            marks=pytest.mark.slow,
        ),
    ],
    ids=[
        *("overparam", "sparse", "workers", "accumulate", "minibatch"),
        *("uncertainty", "dwa", "rlw", "gls", "target"),
    ],
)  # fmt: skip
def test_a_stopped_run_goes_on_mid_epoch_to_the_same_weights(train, tmp_path, places, sections):
    assert stop_and_go_on(train, tmp_path, places, **sections) == []


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_a_data_set_draws_at_random_goes_on_too(train, blobs, tmp_path, num_workers):
    class Noisy(blobs):
        def __getitem__(self, index):
            image, targets = super().__getitem__(index)
            return (image + 0.1 * torch.rand_like(image)).clamp(0, 1), targets

    sections = {"data": {"num_workers": num_workers}, "fit_args": {"train_data": Noisy(18)}}
    assert stop_and_go_on(train, tmp_path, [(1, 2), (2, 1)], **sections) == []


@pytest.mark.parametrize(
    "lose",
    [
        lambda state: state.position["random"][0].update(torch=torch.Generator().get_state()),
        pytest.param(
            lambda state: state.position.update(step=state.position["step"] - 1),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda state: state.position["losses"].update(seg=0.0), marks=pytest.mark.slow
        ),
    ],
    ids=["random-state", "step", "losses"],
)
def test_the_comparison_notices_a_position_that_was_lost(train, tmp_path, lose):
    sections = {"weighting": {"name": "rlw"}}
    train(fit_args={"run_dir": tmp_path / "whole"}, **sections)
    cut = {"run_dir": tmp_path / "cut"}
    with pytest.raises(StoppedError):
        train(fit_args={**cut, "reporter": Signalled(1, 2)}, **sections)
    state = load_checkpoint(tmp_path / "cut" / "ckpt.pt")
    lose(state)
    save_checkpoint(tmp_path / "cut" / "ckpt.pt", state)
    train(fit_args={**cut, "resume": True}, **sections)
    assert differing(tmp_path / "whole" / "ckpt.pt", tmp_path / "cut" / "ckpt.pt")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_signal_its_step_and_the_folder_are_named(train, tmp_path, number):
    earlier = signal.getsignal(number)
    with pytest.raises(StoppedError) as caught:
        train(fit_args={"run_dir": tmp_path / "run", "reporter": Signalled(2, 3, number)})
    name = signal.Signals(number).name
    assert f"stopped by {name} in epoch 2, after step 3; saved in `{tmp_path}" in str(caught.value)
    assert caught.value.exit_code == 75
    assert read_json(tmp_path / "run" / "run.json")["status"] == "interrupted"
    assert signal.getsignal(number) is earlier


def test_a_signal_before_the_first_step_leaves_no_folder(train, blobs, tmp_path):
    class Slow(blobs):
        def __getitem__(self, index):
            os.kill(os.getpid(), signal.SIGTERM)
            return super().__getitem__(index)

    with pytest.raises(StoppedError, match="before the first step"):
        train(fit_args={"train_data": Slow(18)})
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_first_signal_is_the_one_that_is_named():
    with stop_on_signal(StopRequest()) as stop:
        stop.waits = True
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.name == "SIGUSR1"
    assert StopRequest().name == ""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.position.update(step=99),
        lambda state: state.position.update(step="2"),
        lambda state: state.position.update(random=[{}]),
        lambda state: state.position.pop("random"),
        lambda state: state.position.update(losses={"depth": 0.0}),
        lambda state: state.position.update(more=1),
        lambda state: state.position["random"][0].update(torch=torch.zeros(3)),
    ],
)
def test_a_position_that_cannot_be_is_a_damaged_file(train, tmp_path, spoil):
    with pytest.raises(StoppedError):
        train(fit_args={"run_dir": tmp_path / "run", "reporter": Signalled(1, 2)})
    state = load_checkpoint(tmp_path / "run" / "ckpt.pt")
    spoil(state)
    save_checkpoint(tmp_path / "run" / "ckpt.pt", state)
    with pytest.raises(CorruptFileError, match="position in epoch 1 is none of this run"):
        train(fit_args={"run_dir": tmp_path / "run", "resume": True})


def test_the_best_epoch_is_not_overwritten_by_what_came_after_it(train, tmp_path):
    sections = {"train": {"epochs": 3, "keep_best": True, "lr": 1e-5}}
    cut = {"run_dir": tmp_path / "run"}
    with pytest.raises(StoppedError):
        train(fit_args={**cut, "reporter": Signalled(2, 2)}, **sections)
    best = (tmp_path / "run" / "best.pt").read_bytes()
    with pytest.raises(StoppedError):
        train(fit_args={**cut, "resume": True, "reporter": Signalled(2, 1)}, **sections)
    assert (tmp_path / "run" / "best.pt").read_bytes() == best


def test_a_network_that_died_is_not_saved_over_one_that_lives(train, tmp_path):
    sections = {
        "train": {"epochs": 4, "lr": 1e-2, "checkpoint_every": "1 step"},
        "sparsity": {"schedule": "constant", "lam": 1e3, "start": 0.5, "stop": 1.0},
    }
    with pytest.raises(TrainingError, match=r"is zero at lam 1000 in epoch 3, step") as caught:
        train(fit_args={"run_dir": tmp_path / "run"}, **sections)
    kept = load_checkpoint(tmp_path / "run" / "ckpt.pt")
    step = kept.position.get("step")
    words = "of epoch 2 is" if step is None else f"of epoch 3, step {step} is"
    assert f"the checkpoint {words} kept" in str(caught.value)
    assert any(weight.any() for name, weight in kept.model.items() if name.endswith("weight"))
