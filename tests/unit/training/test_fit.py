"""Whole small runs: what they write, that they learn, and that they repeat to the bit."""

import csv
import math

import pytest
import torch

from compactmtl.checkpoint import build_model, load_checkpoint
from compactmtl.data.batch import loader
from compactmtl.data.labelled import LOOK
from compactmtl.data.order import epoch_order
from compactmtl.data.survey import spread
from compactmtl.errors import (
    NonFiniteError,
    RecipeError,
    TrainingError,
    UsageError,
    WriteError,
)
from compactmtl.files import read_json
from compactmtl.multitask.losses import total_loss
from compactmtl.overparam import is_expanded, task_parameters
from compactmtl.sparsity import ProximalAdamW
from compactmtl.training import fit, initial_network, lr_factor, seed_epoch
from compactmtl.training.logs import read_log

ALL_PHASES = {
    "train": {"epochs": 4, "clip_norm": 5.0},
    "overparam": {"until": 0.25, "m_lr": 0.02, "subset": 0.5},
    "sparsity": {"schedule": "constant", "lam": 0.3, "start": 0.5, "stop": 0.75},
}


class Recorder:
    """A reporter that remembers what it is told."""

    def __init__(self):
        self.events = []

    def preparing(self, what, done, total):
        self.events.append(("preparing", what, done, total))

    def run_started(self, info):
        self.events.append(("run", info))

    def epoch_started(self, epoch, phase, num_steps):
        self.events.append(("epoch", epoch, phase, num_steps))

    def step(self, losses):
        self.events.append(("step", dict(losses)))

    def epoch_finished(self, record):
        self.events.append(("end", record["epoch"]))

    def message(self, text):
        self.events.append(("message", text))


class PerPixel(torch.nn.Module):
    """All that is needed to solve Blobs: both tasks are linear in a pixel's colours."""

    def __init__(self):
        super().__init__()
        self.seg, self.depth = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 1, 1)

    def forward(self, image):
        return {"seg": self.seg(image), "depth": self.depth(image)}


def weights(result):
    return load_checkpoint(result.checkpoint_path).model


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_a_run_with_every_phase_writes_all_its_files_and_tells_its_reporter(train):
    reporter = Recorder()
    result = train(fit_args={"reporter": reporter}, **ALL_PHASES)
    folder = result.run_dir
    names = {path.name for path in folder.iterdir()}
    assert names == {"recipe.toml", "ckpt.pt", "log.csv", "log.jsonl", "run.json"}

    log = read_log(folder)
    assert [row["phase"] for row in log] == ["overparam", "dense", "sparse", "debias"]
    assert [row["epoch"] for row in log] == [1, 2, 3, 4]
    assert set(log[0]["m_reach"]) == {"seg", "depth"}
    assert all(0.0 < reach <= 0.1 for reach in log[0]["m_reach"].values())
    assert log[0]["sparsity"] is None
    assert [row["lam"] for row in log] == [0.0, 0.0, 0.3, 0.0]
    assert log[1]["sparsity"]["zero_groups"] == 0
    assert log[3]["sparsity"] == log[2]["sparsity"]
    assert log[3]["sparsity"]["zero_groups"] > 0
    assert log[3]["lr"] < log[0]["lr"]
    with (folder / "log.csv").open(encoding="utf-8", newline="") as handle:
        assert [row["phase"] for row in csv.DictReader(handle)] == [row["phase"] for row in log]

    document = read_json(folder / "run.json")
    assert document["status"] == "finished"
    assert document["milestones"]["before_sparse"] == log[1]["val"]
    assert document["milestones"]["final"] == log[3]["val"] == result.metrics
    assert document["baseline"] == result.baseline
    assert result.history == load_checkpoint(result.checkpoint_path).history

    assert reporter.events[0][1].num_train == 18
    assert [event[1:] for event in reporter.events if event[0] == "epoch"] == [
        (1, "overparam", 8),  # 4 main steps; 2 of 9 samples for each of 2 tasks' m
        (2, "dense", 4),
        (3, "sparse", 4),
        (4, "debias", 4),
    ]
    assert sum(event[0] == "step" for event in reporter.events) == 20
    assert set(reporter.events[2][1]) == {"seg"}


def test_the_checkpoint_rebuilds_the_network_that_fit_returns(train):
    result = train(**ALL_PHASES)
    assert not is_expanded(result.model)
    image = torch.rand(2, 3, 16, 24)
    rebuilt = build_model(load_checkpoint(result.checkpoint_path)).eval()
    with torch.no_grad():
        for name, raw in result.model(image).items():
            assert torch.equal(rebuilt(image)[name], raw)


def test_a_network_overparameterised_to_the_end_stays_expanded_in_its_checkpoint(train):
    result = train(overparam={"iterative": "none"})
    assert is_expanded(result.model)
    assert is_expanded(build_model(load_checkpoint(result.checkpoint_path)))
    assert max(result.history[-1]["m_reach"].values()) > 0.0


@pytest.mark.parametrize("method", ["mshare", "uvshare", "fnl", "doconv", "expandnet", "repvgg"])
def test_every_method_trains_and_is_contracted_when_its_phase_is_over(train, method):
    settings = {"method": method, "until": 0.5, "layers": ["encoder.*"]}
    result = train(train={"epochs": 2}, overparam=settings)
    assert not is_expanded(result.model)
    assert [record["phase"] for record in result.history] == ["overparam", "dense"]


@pytest.mark.parametrize("method", ["umv", "mshare", "uvshare"])
def test_each_task_can_train_its_factors_in_every_step(train, method):
    result = train(train={"epochs": 1}, overparam={"method": method, "iterative": "minibatch"})
    states = load_checkpoint(result.checkpoint_path).optimizer
    steps = {int(state["step"]) for state in states["main"]["state"].values()}
    for task in ("seg", "depth"):
        own = states[task]["state"].values()
        assert len(own) == len(task_parameters(result.model, task))
        assert {int(state["step"]) for state in own} == steps
        assert all(state["exp_avg"].abs().max() > 0 for state in own)


def test_a_method_without_factors_of_single_tasks_cannot_train_them_apart(train):
    with pytest.raises(RecipeError, match="no factors that single tasks train"):
        train(overparam={"method": "fnl", "iterative": "subset"})


@pytest.mark.parametrize("name", ["uncertainty", "dwa", "rlw", "gls"])
@pytest.mark.parametrize("iterative", ["subset", "minibatch"])
def test_every_weighting_trains_with_every_way_to_train_m(train, name, iterative):
    result = train(
        train={"epochs": 3}, weighting={"name": name}, overparam={"iterative": iterative}
    )
    weights = result.history[-1]["weights"]
    assert set(weights) == {"seg", "depth"}
    moved = any(weight != result.history[0]["weights"][task] for task, weight in weights.items())
    assert moved == (name in ("uncertainty", "dwa"))


def test_training_beats_the_constant_predictor_and_passes_its_check(train):
    sections = {"train": {"epochs": 40, "lr": 3e-2}, "check": {"margin": 0.4}}
    result = train(fit_args={"model": PerPixel()}, **sections)
    check = read_json(result.run_dir / "run.json")["check"]
    assert check["passed"]
    assert check["tasks"]["final"].keys() == {"seg", "depth"}


def test_a_missed_check_is_an_error_after_everything_is_written(train, tmp_path):
    with pytest.raises(TrainingError, match=r"misses its check: `seg` at the end: 1 - miou"):
        train(
            train={"epochs": 1, "lr": 1e-6},
            check={"margin": 0.5},
            fit_args={"run_dir": tmp_path / "run"},
        )
    document = read_json(tmp_path / "run" / "run.json")
    assert document["status"] == "finished"
    assert document["check"]["passed"] is False
    assert load_checkpoint(tmp_path / "run" / "ckpt.pt").epoch == 1


def test_runs_repeat_to_the_bit_whatever_random_numbers_were_drawn_before(train):
    first = train(**ALL_PHASES)
    torch.rand(100)
    before = torch.get_rng_state()
    second = train(**ALL_PHASES)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(train(seed=1, **ALL_PHASES)))


def test_workers_change_nothing(train):
    alone = train(train={"epochs": 1})
    assert same(weights(alone), weights(train(train={"epochs": 1}, data={"num_workers": 2})))


def test_a_plain_loop_gets_the_same_weights(train, make_recipe, blobs, tasks):
    sections = {
        "train": {"epochs": 3, "warmup_steps": 2},
        "tasks": {"seg": {"weight": 2.0}, "depth": {}},
    }
    expected = weights(train(**sections))

    recipe, data = make_recipe(**sections), blobs(18)
    model = initial_network(recipe, tasks).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    step = 0
    for epoch in range(3):
        seed_epoch(recipe.seed, epoch)
        order = epoch_order(len(data), recipe.seed, epoch)
        batches = loader(
            torch.utils.data.Subset(data, order),  # type: ignore[arg-type]
            tasks,
            batch_size=4,
            shuffle=False,
            generator=torch.Generator(),
            drop_last=True,
        )
        for images, targets in batches:
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * lr_factor(step, 12, recipe.train)
            loss, _ = total_loss(tasks, {"seg": 2.0, "depth": 1.0}, model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    assert same(dict(model.state_dict()), expected)


def test_dense_training_uses_the_optimiser_of_the_sparse_runs(train):
    optimizer = load_checkpoint(train(train={"epochs": 1}).checkpoint_path).optimizer
    assert set(optimizer) == {"main"}
    assert "live_groups" in optimizer["main"]
    assert issubclass(ProximalAdamW, torch.optim.AdamW)


def test_resuming_a_finished_run_changes_nothing(train):
    result = train(**ALL_PHASES)
    before = result.checkpoint_path.read_bytes()
    again = train(fit_args={"run_dir": result.run_dir, "resume": True}, **ALL_PHASES)
    assert again.metrics == result.metrics
    assert result.checkpoint_path.read_bytes() == before


def test_resume_refuses_another_recipe(train):
    result = train(train={"epochs": 1})
    with pytest.raises(RecipeError, match=r"`train\.lr` is 0\.5, but .* was trained with 0\.01"):
        train(train={"epochs": 1, "lr": 0.5}, fit_args={"run_dir": result.run_dir, "resume": True})
    assert load_checkpoint(result.checkpoint_path).epoch == 1


def test_training_starts_from_the_weights_of_init(train, tmp_path):
    result = train(train={"epochs": 1})
    reporter = Recorder()
    again = train(
        train={"epochs": 1, "lr": 1e-12, "weight_decay": 0.0, "init": str(result.checkpoint_path)},
        fit_args={"reporter": reporter},
    )
    parameters = dict(result.model.named_parameters())
    for name, parameter in again.model.named_parameters():
        assert torch.allclose(parameter, parameters[name], atol=1e-9)
    assert any(event[0] == "message" and "ckpt.pt" in event[1] for event in reporter.events)


def test_a_network_given_as_an_object_is_trained_in_place(train):
    mine = PerPixel()
    before = mine.seg.weight.clone()
    result = train(fit_args={"model": mine})
    assert result.model is mine
    assert not torch.equal(mine.seg.weight, before)


def test_a_task_that_samples_lack_is_trained_on_the_others(train, blobs):
    data = blobs(16, without_depth=frozenset(range(8)))
    result = train(fit_args={"train_data": data}, train={"epochs": 8})
    error = result.metrics["depth"]["abs_err"]
    assert error < result.baseline["depth"]["abs_err"] * 2


def test_a_loss_that_explodes_ends_in_one_line_and_the_last_good_checkpoint_stays(train, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=r"epoch \d+, step \d+ \(lr 1e\+30\)") as caught:
        train(
            train={"epochs": 3, "lr": 1e30, "lr_schedule": "constant"},
            fit_args={"run_dir": folder},
        )
    assert "train.lr" in caught.value.hint
    assert read_json(folder / "run.json")["status"] == "failed"
    if (folder / "ckpt.pt").exists():
        state = load_checkpoint(folder / "ckpt.pt").model
        assert all(tensor.isfinite().all() for tensor in state.values())


def test_nan_that_comes_late_in_the_data_names_task_epoch_and_step(train, blobs, tmp_path):
    class Poisoned(blobs):
        def __getitem__(self, index):
            image, targets = super().__getitem__(index)
            if index == epoch_order(18, 0, 1)[5]:  # the second batch of the second epoch
                self.seen += 1
                if self.seen > 1:  # once in the first epoch it is still in order
                    image = image * math.nan
            return image, targets

    data = Poisoned(18)
    data.seen = 0 if epoch_order(18, 0, 1)[5] in epoch_order(18, 0, 0)[:16] else 1
    data.seen -= epoch_order(18, 0, 1)[5] in spread(18, LOOK)  # looked at before the first epoch
    with pytest.raises(NonFiniteError, match=r"loss of `seg` is nan in epoch 2, step 2") as caught:
        train(fit_args={"train_data": data, "run_dir": tmp_path / "run"})
    assert "checkpoint of epoch 1 is kept" in str(caught.value)
    assert load_checkpoint(tmp_path / "run" / "ckpt.pt").epoch == 1


def test_an_unwritable_folder_is_found_before_anything_is_trained(train, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot write"):
        train(fit_args={"root": tmp_path / "file"})


def test_wrong_patterns_show_at_once_and_leave_no_folder(train, tmp_path):
    with pytest.raises(UsageError, match="pattern `backbone"):
        train(sparsity={"target": 0.5, "start": 0.5, "stop": 1.0, "layers": ["backbone.*"]})
    assert list((tmp_path / "runs").iterdir()) == []


def test_interrupted_runs_say_so_and_keep_their_checkpoint(train, tmp_path):
    class Impatient(Recorder):
        def epoch_started(self, epoch, phase, num_steps):
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(fit_args={"reporter": Impatient(), "run_dir": tmp_path / "run"})
    assert read_json(tmp_path / "run" / "run.json")["status"] == "interrupted"
    result = train(fit_args={"run_dir": tmp_path / "run", "resume": True})
    assert same(weights(result), weights(train()))
    document = read_json(tmp_path / "run" / "run.json")
    assert document["status"] == "finished"


def test_fit_takes_data_sets_and_tasks_from_the_recipe_too(make_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPACTMTL_CACHE", str(tmp_path / "cache"))
    recipe = make_recipe(
        data={"name": "rooms", "args": {"num_images": 4, "height": 16, "width": 24}},
        tasks={"normals": {}, "seg": {}},
        train={"epochs": 1},
    )
    reporter = Recorder()
    result = fit(recipe, root=tmp_path, reporter=reporter)
    assert list(result.metrics) == ["normals", "seg"]
    assert any(event[0] == "preparing" for event in reporter.events)


@pytest.mark.parametrize(("subset", "batches"), [(0.5, 2), (12, 3), (1, 4)])
def test_the_subset_is_a_share_or_a_number_of_samples(train, subset, batches):
    recorder = Recorder()
    train(overparam={"subset": subset}, train={"epochs": 1}, fit_args={"reporter": recorder})
    (epoch,) = [event for event in recorder.events if event[0] == "epoch"]
    assert epoch[3] == 4 + 2 * batches  # 18 samples in batches of 4, two tasks


def test_a_subset_larger_than_the_data_is_refused_before_anything_is_trained(train):
    with pytest.raises(RecipeError, match=r"19 samples.*18 training samples"):
        train(overparam={"subset": 19})


def test_a_single_task_can_be_factorised_with_m_trained_along(train, blobs, tasks):
    result = train(
        tasks={"seg": {}}, overparam={"iterative": "none"}, train={"epochs": 2},
        fit_args={"tasks": {"seg": tasks["seg"]}},
    )  # fmt: skip
    assert is_expanded(result.model)
    assert list(result.history[0]["m_reach"]) == ["seg"]
    assert result.history[1]["m_reach"]["seg"] > 0
