"""Recipes: what is accepted, and what the messages of refusals say."""

from pathlib import Path

import pytest

from compactmtl import recipe as recipes
from compactmtl.errors import MissingFileError, PartError, RecipeError
from compactmtl.models.recipes import load, names, read
from compactmtl.training.phases import is_overparam, is_sparse, phases

SMALL = {
    "name": "small",
    "model": {"name": "segnet"},
    "data": {"name": "rooms"},
    "tasks": {"seg": {}, "depth": {"weight": 2.0}},
}


def parse(**sections: object) -> recipes.Recipe:
    return recipes.parse(SMALL | sections, source="here")


@pytest.mark.parametrize("name", names())
def test_named_recipes_parse_survive_toml_and_have_every_phase_they_ask_for(name: str, tmp_path):
    recipe = load(name)
    assert recipe.name == name
    assert recipe.description
    path = tmp_path / "recipe.toml"
    path.write_text(recipes.to_toml(recipe), encoding="utf-8")
    assert recipes.parse(recipes.read_toml(path), source="copy") == recipe
    plan = phases(recipe)
    assert any(map(is_overparam, plan)) == (recipe.overparam is not None)
    assert any(map(is_sparse, plan)) == (recipe.sparsity is not None)


@pytest.mark.parametrize("data", ["nuclei", "rooms"])
def test_recipes_of_the_quality_benchmark_differ_in_the_method_alone(data: str):
    dense, fac, sparse = (load(f"{data}-{method}") for method in ("dense", "fac", "sparse"))
    for other in (fac, sparse):
        for part in ("model", "data", "tasks", "train", "seed"):
            assert getattr(other, part) == getattr(dense, part)
    assert dense.overparam is None
    assert dense.sparsity is None
    assert fac.overparam is not None
    assert sparse.sparsity is not None


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"trian": {}}, ["unknown key `trian`", "did you mean `train`"]),
        ({"train": {"epoch": 3}}, ["unknown key `train.epoch`", "did you mean `epochs`"]),
        (
            {"tasks": {"seg": {"weigth": 1.0}}},
            ["unknown key `tasks.seg.weigth`", "did you mean `weight`"],
        ),
        ({"sparsity": {"targte": 0.5}}, ["unknown key `sparsity.targte`", "`target`"]),
        ({"train": {"epochs": "three"}}, ["`train.epochs`", "valid integer", "'three'"]),
        ({"train": {"epochs": 0}}, ["`train.epochs`", "greater than or equal to 1"]),
        ({"train": {"precision": "8-bit"}}, ["`train.precision`", "32-true", "'8-bit'"]),
        ({"seed": -1}, ["`seed`", "greater than or equal to 0"]),
        ({"name": "../elsewhere"}, ["`name`", "pattern"]),
        ({"tasks": {}}, ["`tasks`", "at least 1"]),
        ({"sparsity": {"target": 0.5, "start": 0.6, "stop": 0.5}}, ["stop (=0.5)", "start (=0.6)"]),
        ({"sparsity": {"schedule": "target"}}, ["sparsity.target (=None)", "'target'"]),
        ({"sparsity": {"schedule": "ramp", "target": 0.5}}, ["sparsity.target (=0.5)", "'ramp'"]),
        (
            {
                "sparsity": {"target": 0.5, "start": 0.2},
                "overparam": {"until": 0.4, "method": "doconv"},
            },
            ["overparam.until (=0.4)", "sparsity.start (=0.2)"],
        ),
        ({"train": {"lr_milestones": [0.5]}}, ["`train`", "lr_milestones", "'steps'"]),
        ({"train": {"lr_schedule": "steps"}}, ["`train`", "lr_milestones"]),
        ({"train": {"lr_schedule": "steps", "lr_milestones": [150]}}, ["[150.0]", "shares"]),
        ({"overparam": {"subset": 1.5}}, ["subset (=1.5)", "whole number"]),
        ({"model": 3}, ["`model`", "got 3"]),
    ],
)
def test_a_bad_recipe_is_refused_in_one_line_that_names_the_place(sections, words):
    with pytest.raises(RecipeError) as caught:
        parse(**sections)
    assert str(caught.value).startswith("here: ")
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    for word in words:
        assert word in str(caught.value)


def test_check_needs_neither_of_its_keys():
    assert parse(check={}).check is not None
    assert parse(check={"margin": 0.2}).check.zero_groups is None  # type: ignore[union-attr]


def test_settings_override_one_value_and_leave_the_document_alone():
    document = {"train": {"epochs": 10, "lr": 0.1}, "seed": 0}
    changed = recipes.override(
        document, ["train.epochs=3", "seed=7", "data.name=rooms", "model.args.widths=[8, 8]"]
    )
    assert changed == {
        "train": {"epochs": 3, "lr": 0.1},
        "seed": 7,
        "data": {"name": "rooms"},
        "model": {"args": {"widths": [8, 8]}},
    }
    assert document == {"train": {"epochs": 10, "lr": 0.1}, "seed": 0}


def test_some_tasks_of_a_recipe_alone():
    recipe = parse(
        model={"name": "deeplab_resnet18", "args": {"image_tasks": ["male", "smile"]}},
        tasks={"seg": {"weight": 2.0}, "male": {}, "smile": {}},
    )
    some = recipes.with_tasks(recipe, ["smile", "seg"])
    assert list(some.tasks) == ["seg", "smile"]
    assert some.tasks["seg"].weight == 2.0
    assert some.model.args["image_tasks"] == ["smile"]
    assert recipes.with_tasks(recipe, ["seg"]).model.args["image_tasks"] == []
    assert recipes.with_tasks(recipe, list(recipe.tasks)) == recipe
    with pytest.raises(RecipeError, match="no task `smiles`; did you mean `smile`"):
        recipes.with_tasks(recipe, ["smiles"])
    with pytest.raises(RecipeError, match="`seg` is named twice"):
        recipes.with_tasks(recipe, ["seg", "smile", "seg"])


def test_a_setting_without_a_value_leaves_the_key_to_its_default():
    given = {"train": {"epochs": 3, "lr": 0.1}}
    assert recipes.override(given, ["train.lr=", "train.init="]) == {"train": {"epochs": 3}}


@pytest.mark.parametrize("setting", ["train.epochs", "=3", "seed.x=1"])
def test_a_setting_that_is_none_is_refused(setting: str):
    with pytest.raises(RecipeError, match="--set"):
        recipes.override({"seed": 0}, [setting])


def test_missing_broken_and_unreadable_recipe_files_are_told_apart(tmp_path: Path):
    with pytest.raises(MissingFileError, match=r"no such recipe file: .*none\.toml"):
        load(str(tmp_path / "none.toml"))
    with pytest.raises(MissingFileError, match="is a folder, expected a file"):
        recipes.read_toml(tmp_path)
    broken = tmp_path / "broken.toml"
    broken.write_text("name = [", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"broken\.toml: not TOML"):
        load(str(broken))
    broken.write_bytes(b"name = '\xff'")
    with pytest.raises(RecipeError, match="not TOML"):
        load(str(broken))


def test_an_unknown_recipe_name_suggests_the_nearest():
    with pytest.raises(PartError, match="did you mean `rooms-demo`"):
        read("rooms-dmeo")
