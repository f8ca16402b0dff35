"""The grid of a sweep, and what it refuses."""

import pytest

from compactmtl.errors import RecipeError, RefusedError, UsageError
from compactmtl.models.recipes import load
from compactmtl.study.grid import claim_folder, make_grid, parse_lams, parse_task_sets


def test_every_point_is_the_recipe_at_its_lambda_and_with_its_tasks():
    _, grid = make_grid("rooms-demo", lams=[0.0, 0.1], task_sets=["depth,seg", "normals"])
    assert [(p.series, p.lam) for p in grid] == [
        ("seg, depth", 0.0), ("seg, depth", 0.1), ("normals", 0.0), ("normals", 0.1),
    ]  # fmt: skip
    assert [p.subject.label for p in grid[:2]] == ["seg-depth_lam-0", "seg-depth_lam-0.1"]
    for point in grid:
        recipe = point.subject.recipe
        section = recipe.sparsity
        assert (section.lam, section.schedule, section.target) == (point.lam, "constant", None)
        assert recipe.check is None  # a strong penalty is to be seen, not to fail
        assert ", ".join(recipe.tasks) == point.series
        assert recipe.overparam == load("rooms-demo").overparam


def test_a_ramp_and_a_users_settings_stay():
    settings = ['sparsity={schedule="ramp", stop=0.75}', "train.epochs=7"]
    _, (point,) = make_grid("rooms-dense", lams=[0.5], settings=settings)
    recipe = point.subject.recipe
    assert (recipe.sparsity.schedule, recipe.sparsity.stop, recipe.train.epochs) == (
        "ramp",
        0.75,
        7,
    )


def test_lambda_zero_is_the_same_optimiser_without_penalty():
    _, (point,) = make_grid("rooms-dense", lams=[0.0])
    assert point.subject.recipe.sparsity.lam == 0.0


def test_combinations_are_all_task_sets_singles_first():
    sets = parse_task_sets(load("rooms-dense"), [], every_combination=True)
    assert len(sets) == len(set(sets)) == 7
    assert [len(each) for each in sets] == [1, 1, 1, 2, 2, 2, 3]


def test_strengths_are_sorted():
    assert parse_lams("1e-2, 0,1e-5") == [0.0, 1e-5, 1e-2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"), (" , ", "empty"), ("1e-3,x", "`x` is not a number"),
        ("-1e-3", "at least 0"), ("inf", "finite"), ("nan", "finite"), ("1e-3,0.001", "twice"),
    ],
)  # fmt: skip
def test_strengths_that_are_none_are_refused(text, words):
    with pytest.raises(UsageError, match=words):
        parse_lams(text)


@pytest.mark.parametrize(
    ("texts", "every", "words"),
    [
        (["seg,depht"], False, "did you mean `depth`"),
        (["seg,seg"], False, "named twice"),
        (["seg,depth", "depth,seg"], False, "this set is there twice"),
        (["seg"], True, "both say"),
        ([""], False, "no task"),
    ],
)
def test_task_sets_that_are_none_are_refused(texts, every, words):
    with pytest.raises((UsageError, RecipeError), match=words):
        parse_task_sets(load("rooms-dense"), texts, every_combination=every)


def test_a_folder_keeps_its_recipe(tmp_path):
    base, _ = make_grid("rooms-dense", lams=[0.1])
    claim_folder(tmp_path, base)
    claim_folder(tmp_path, make_grid("rooms-dense", lams=[0.1, 0.2])[0])  # it may grow
    other, _ = make_grid("rooms-dense", lams=[0.1], settings=["train.lr=0.5"])
    with pytest.raises(RefusedError, match="a sweep of another recipe"):
        claim_folder(tmp_path, other)
