"""The sparsity penalty in a run: its unit, its targets, its end, and what is refused."""

import copy
import json

import pytest
import torch

from compactmtl.checkpoint import build_model, load_checkpoint
from compactmtl.errors import RecipeError, TrainingError
from compactmtl.recipe import parse
from compactmtl.sparsity import census, groups
from compactmtl.training.reporter import NullReporter
from compactmtl.training.teacher import Teacher

SPARSE = {"target": 0.5, "lam": 0.1, "stop": 0.5}


def zero_share(model) -> float:
    return census(model, groups(model)).group_sparsity


def test_a_network_is_overparameterised_and_sparse_at_once_and_stays_so_when_contracted(train):
    epochs = {"epochs": 6, "lr": 2e-2}
    result = train(train=epochs, overparam={"until": 0.84}, sparsity={**SPARSE, "stop": 0.67})
    phases = [record["phase"] for record in result.history]
    assert phases[0] == "overparam-sparse"
    assert phases[4:] == ["overparam-debias", "debias"]
    shares = [r["sparsity"]["zero_groups"] / r["sparsity"]["num_groups"] for r in result.history]
    assert shares[-1] == pytest.approx(0.5, abs=0.02)
    assert shares[-2] == shares[-1] == pytest.approx(zero_share(result.model))
    assert {"U" in name for name in result.model.state_dict()} == {False}
    assert "before_debias" in json.loads((result.run_dir / "run.json").read_text())["milestones"]


def test_resuming_a_network_that_is_expanded_and_sparse_changes_nothing(train, tmp_path):
    sections = {
        "train": {"epochs": 4},
        "overparam": {"until": 1.0},
        "sparsity": {"schedule": "constant", "lam": 0.05, "stop": 1.0},
    }
    whole = train(fit_args={"run_dir": tmp_path / "whole"}, **sections)

    class Stop:
        def __getattr__(self, name):
            return lambda *args: None

        def epoch_finished(self, record):
            if record["epoch"] == 2:
                raise KeyboardInterrupt

    folder = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train(fit_args={"run_dir": folder, "reporter": Stop()}, **sections)
    again = train(fit_args={"run_dir": folder, "resume": True}, **sections)
    for one, two in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_lam_in_units_of_the_gradient_needs_no_scale_of_the_loss(train):
    def shares(weight: float) -> list[int]:
        tasks = {"seg": {"weight": weight}, "depth": {"weight": weight}}
        sparsity = {"schedule": "constant", "lam_rel": 6.0, "stop": 0.75}
        result = train(train={"epochs": 8}, sparsity=sparsity, tasks=tasks)
        assert result.history[0]["gradient_rms"] > 0
        return [record["sparsity"]["zero_groups"] for record in result.history]

    usual, scaled = shares(1.0), shares(128.0)
    assert usual[-1] > 0
    assert scaled[-1] == pytest.approx(usual[-1], rel=0.2)  # eps is in the gradient's unit too


def test_the_log_says_that_the_threshold_falls_with_the_learning_rate(train):
    result = train(train={"epochs": 4}, sparsity={"schedule": "constant", "lam": 1e-3, "stop": 1.0})
    thresholds = [record["threshold"] for record in result.history]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[-1] < thresholds[0] / 3
    assert all(r["threshold"] == pytest.approx(r["lr"] * r["lam"]) for r in result.history)


def test_where_everything_is_zero_the_run_ends_and_says_when_and_why(train, tmp_path):
    with pytest.raises(TrainingError, match=r"every group .* at lam 50 in epoch 2, step .* kept"):
        train(
            fit_args={"run_dir": tmp_path / "run"},
            train={"epochs": 4},
            sparsity={"schedule": "constant", "lam": 50.0, "start": 0.25, "stop": 1.0},
        )
    kept = load_checkpoint(tmp_path / "run" / "ckpt.pt")
    assert kept.epoch == 1
    assert zero_share(build_model(kept)) < 1


def macs_like(model, image) -> float:
    """Stand for the compiler: the share of weights that is left, which groups save unequally."""
    found = census(model, groups(model)).layers
    left = sum((1 - each.zero_groups / each.num_groups) * each.num_weights for each in found)
    return left / sum(each.num_weights for each in found)


@pytest.mark.parametrize(
    ("wanted", "lam"), [(0.6, 1e-3), pytest.param(0.3, 3.0, marks=pytest.mark.slow)]
)
def test_a_target_of_cost_is_reached_within_two_points(train, wanted, lam):
    result = train(
        fit_args={"cost": macs_like},
        train={"epochs": 24, "lr": 5e-3},
        model={"args": {"widths": [12, 16]}},
        sparsity={"target_macs": wanted, "lam": lam, "stop": 0.75},
    )
    assert macs_like(result.model, None) == pytest.approx(wanted, abs=0.02)
    assert result.history[0]["cost"] == pytest.approx(1.0, abs=0.2)


def test_a_target_that_is_not_reached_is_told_and_an_error_for_a_run_with_a_check(train, tmp_path):
    class Listen(NullReporter):
        def message(self, text):
            heard.append(text)

    heard: list[str] = []
    sparsity = {"target": 0.8, "lam": 1e-9, "stop": 0.5}
    train(fit_args={"run_dir": tmp_path / "told", "reporter": Listen()}, sparsity=sparsity)
    assert any("not reached: zero groups" in text for text in heard)
    with pytest.raises(TrainingError, match=r"zero groups: .*, expected 80\.0%"):
        train(fit_args={"run_dir": tmp_path / "run"}, sparsity=sparsity, check={})
    assert load_checkpoint(tmp_path / "run" / "ckpt.pt").epoch == 2
    check = json.loads((tmp_path / "run" / "run.json").read_text())["check"]
    assert check["passed"] is False


@pytest.mark.parametrize("schedule", ["target", "once"])
def test_a_share_that_takes_the_last_group_of_a_layer_is_refused(train, tmp_path, schedule):
    start = {"start": 0.0} if schedule == "once" else {"stop": 0.5}
    with pytest.raises(RecipeError, match="one of every layer stays"):
        train(sparsity={"schedule": schedule, "target": 0.95, **start})
    assert not list(tmp_path.rglob("ckpt.pt"))


def test_a_cost_out_of_reach_is_refused_before_anything_is_trained(train, tmp_path):
    with pytest.raises(RecipeError, match=r"0\.001 cannot be reached"):
        train(
            fit_args={"cost": macs_like, "root": tmp_path / "none"},
            sparsity={"target_macs": 0.001, "stop": 0.5},
        )
    assert not list((tmp_path / "none").glob("*"))


def test_a_target_of_cost_without_a_cost_model_is_refused(train):
    with pytest.raises(RecipeError, match="need a cost model"):
        train(sparsity={"target_macs": 0.5, "stop": 0.5})


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"sparsity": {"target": 0.5, "lam": -1.0}}, "greater than or equal to 0"),
        ({"sparsity": {"target": 0.5, "lam": float("inf")}}, "finite"),
        ({"sparsity": {"target": 0.5, "target_macs": 0.5}}, "target_macs"),
        ({"sparsity": {"schedule": "ramp", "target_macs": 0.5}}, "none with another"),
        ({"sparsity": {"target_macs": 0.5, "by": "weight"}}, "by 'weight'"),
        ({"overparam": {}, "sparsity": {"target": 0.5, "l1_share": 0.5}}, "overparam.until"),
        ({"overparam": {"method": "repvgg"}, "sparsity": {"target": 0.5}}, "overparam.until"),
        ({"train": {"distill": -1.0}}, "greater than or equal to 0"),
    ],
)
def test_what_a_recipe_must_not_ask_for(make_recipe, sections, text):
    with pytest.raises(RecipeError, match=text):
        make_recipe(**sections)


def test_distillation_trains_towards_the_outputs_of_the_dense_checkpoint(train, blobs, tmp_path):
    dense = train(train={"epochs": 1}, fit_args={"root": tmp_path / "dense"})
    images = blobs(6, seed=1).images
    student = copy.deepcopy(dense.model)
    teacher = Teacher(student, str(dense.checkpoint_path), weight=2.0)
    assert teacher.loss(images, student(images)).item() == 0.0
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.3)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = teacher.loss(images, student(images))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert all(not p.requires_grad for p in teacher.model.parameters())
    scaled = {name: 1000 * raw for name, raw in student(images).items()}
    with torch.no_grad():
        for head in teacher.model.heads.values():
            head[-1].weight.mul_(1000)
            head[-1].bias.mul_(1000)
    assert teacher.loss(images, scaled).item() == pytest.approx(losses[-1], rel=0.5)


def test_a_run_with_distillation_differs_and_can_be_resumed(train, tmp_path):
    dense = train(train={"epochs": 1}, fit_args={"root": tmp_path / "dense"})
    section = {"init": str(dense.checkpoint_path)}
    plain = train(train=section)
    folder = tmp_path / "distilled"
    taught = train(train={**section, "distill": 1.0}, fit_args={"run_dir": folder})
    again = train(train={**section, "distill": 1.0}, fit_args={"run_dir": folder, "resume": True})
    weights = [next(iter(r.model.parameters())) for r in (plain, taught, again)]
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])


def test_distillation_needs_a_file_to_stay_close_to(train):
    with pytest.raises(RecipeError, match=r"without train\.init"):
        train(train={"distill": 1.0})


def test_every_setting_survives_toml(make_recipe):
    recipe = make_recipe(
        train={"init": "dense.pt", "distill": 0.5},
        sparsity={"target_macs": 0.3, "lam_rel": 0.5, "l1_share": 0.2, "by": "filter"},
    )
    assert parse(recipe.to_dict(), source="again") == recipe
