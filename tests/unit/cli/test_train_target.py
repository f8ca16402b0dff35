"""What `train` aims at, from the command line."""

import pytest
import torch

from compactmtl.cli.train_target import cost_of, target_settings
from compactmtl.compiler.table import default_table
from compactmtl.errors import RecipeError, RefusedError, UsageError
from compactmtl.models.recipes import load


def aimed(name: str, *targets: float | None, settings: tuple[str, ...] = ()):
    return load(name, [*settings, *target_settings(*targets)])


def test_a_target_takes_the_place_of_the_recipes_own():
    recipe = aimed("rooms-sparse", None, 0.3, None)
    assert (recipe.sparsity.target, recipe.sparsity.target_macs) == (None, 0.3)
    assert recipe.sparsity.stop == load("rooms-sparse").sparsity.stop
    dense = aimed("rooms-dense", 0.7, None, None, settings=("sparsity.start=0.25",))
    assert (dense.sparsity.schedule, dense.sparsity.target) == ("target", 0.7)
    assert dense.sparsity.start == 0.25
    assert aimed("rooms-smoke", None, None, 5.0).sparsity.schedule == "target"
    assert aimed("rooms-sparse", None, None, None) == load("rooms-sparse")


def test_wrong_targets_are_refused():
    with pytest.raises(UsageError, match="two targets"):
        target_settings(0.5, 0.3, None)
    with pytest.raises(RecipeError, match="less than 1"):
        aimed("rooms-sparse", 70.0, None, None)
    with pytest.raises(RecipeError, match="greater than 0"):
        aimed("rooms-sparse", None, None, 0.0)


def test_latency_by_another_machines_table_is_refused_unless_assumed(tmp_path):
    recipe = aimed("rooms-sparse", None, None, 5.0)
    table = default_table().model_copy(update={"cpu": "another processor"})
    table.save(tmp_path / "table.json")
    with pytest.raises(RefusedError, match="another processor"):
        cost_of(recipe, tmp_path / "table.json", assume=False)
    cost = cost_of(recipe, tmp_path / "table.json", assume=True)
    assert cost(torch.nn.Conv2d(3, 8, 3), torch.rand(1, 3, 8, 8)) > 0


def test_no_target_of_cost_needs_no_cost_model():
    assert cost_of(load("rooms-sparse"), None, assume=False) is None
    assert cost_of(load("rooms-dense"), None, assume=False) is None
