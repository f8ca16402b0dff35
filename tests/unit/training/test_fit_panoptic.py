"""A network that finds things one by one through the trainer: two losses, three scores."""

import importlib.util

import pytest
import squares

from compactmtl import recipe as recipes
from compactmtl.errors import RecipeError
from compactmtl.models import recipes as named
from compactmtl.sparsity import census, groups
from compactmtl.training import fit

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("faster_coco_eval") is None, reason="the extra `coco` is not installed"
)


def recipe(**sections):
    document = {
        "name": "squares",
        "model": {"name": "panoptic_fpn", "args": squares.TINY},
        "data": {"name": "given", "batch_size": 4},
        "tasks": {"instances": {}, "semantic": {"weight": 0.5}, "panoptic": {}},
        "train": {"epochs": 2, "lr": 3e-3, "device": "cpu"},
    }
    for name, values in sections.items():
        document[name] = {**document.get(name, {}), **values}
    return recipes.parse(document, source="test")


def trained(folder, num=8, **sections):
    data = squares.Squares(num)
    return fit(
        recipe(**sections), root=folder, train_data=data, val_data=data, tasks=squares.tasks()
    )


def test_losses_are_of_two_tasks_and_scores_of_three(tmp_path):
    result = trained(tmp_path)
    for record in result.history:
        assert list(record["loss"]) == ["instances", "semantic"]
        assert list(record["val"]) == ["instances", "semantic", "panoptic"]
    assert result.history[1]["loss"]["instances"] < result.history[0]["loss"]["instances"]
    assert result.baseline["instances"]["mask_ap"] == 0.0
    assert 0.2 < result.baseline["panoptic"]["pq"] < 0.5  # the ground alone


@pytest.mark.parametrize("iterative", ["subset", "minibatch"])
def test_each_of_the_two_tasks_has_a_factor_and_the_third_has_none(tmp_path, iterative):
    result = trained(
        tmp_path,
        train={"epochs": 1},
        overparam={"iterative": iterative},
        weighting={"name": "uncertainty"},
    )
    (record,) = result.history
    assert set(record["weights"]) == {"instances", "semantic"}
    assert set(record["m_reach"]) == {"instances", "semantic"}
    assert min(record["m_reach"].values()) > 0


def test_the_shared_layers_become_sparse(tmp_path):
    result = trained(
        tmp_path,
        train={"epochs": 3},
        sparsity={"schedule": "target", "target": 0.3, "lam": 1.0, "stop": 0.7},
    )
    counts = census(result.model, groups(result.model)).to_dict()
    assert counts["zero_groups"] > 0
    assert result.history[-1]["phase"] == "debias"


def test_a_weight_of_what_has_no_loss_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"`tasks.panoptic.weight` is set, but .* has no loss"):
        trained(tmp_path, tasks={"panoptic": {"weight": 2.0}})
    everything = recipe().model_copy(update={"tasks": {"panoptic": recipes.TaskSection()}})
    with pytest.raises(RecipeError, match="there is nothing to learn"):
        fit(
            everything,
            root=tmp_path,
            train_data=squares.Squares(2),
            val_data=squares.Squares(2),
            tasks={"panoptic": squares.tasks()["panoptic"]},
        )


@pytest.mark.slow
def test_a_tiny_network_learns_to_find_squares(tmp_path):
    result = trained(tmp_path, num=48, train={"epochs": 30})
    assert result.metrics["instances"]["mask_ap50"] > 0.3
    assert result.metrics["panoptic"]["pq"] > result.baseline["panoptic"]["pq"] + 0.1


def test_the_recipe_for_nuclei_is_for_this_network():
    assert named.load("nuclei-panoptic").model.name == "panoptic_fpn"
