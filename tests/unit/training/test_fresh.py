"""First weights for a compact model: its layers' own, cut and scaled; nothing trained is left."""

import copy
import dataclasses
import math

import pytest
import torch
from zero_groups import zero_random_groups

from compactmtl.compiler import compress
from compactmtl.errors import RecipeError, WeightsError
from compactmtl.models.build import build
from compactmtl.parameter_map import cut, scatter
from compactmtl.training import finetune, initial_network
from compactmtl.training.fresh import start_afresh

IMAGE = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
CHANNELS, ARGS = {"seg": 3, "depth": 1}, {"widths": [6, 8]}


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build("segnet", CHANNELS, ARGS)


@pytest.fixture(scope="module")
def compiled():
    return compress(zero_random_groups(network(0), seed=1), IMAGE)


@pytest.fixture
def compact(compiled):
    return dataclasses.replace(compiled, module=copy.deepcopy(compiled.module))


def test_what_is_cut_and_put_back_is_where_it_was(compact):
    first = network(1).state_dict()
    parameters = {
        name: entry
        for name, entry in compact.plan["parameters"].items()
        if entry["shape"] is not None and not entry["new"]
    }
    pieces = {name: cut(first[name], entry) for name, entry in parameters.items()}
    back = scatter(pieces, parameters)
    for name, whole in back.items():
        kept = whole != 0
        assert torch.equal(whole[kept], first[name][kept])
        assert pieces[name].shape == compact.module.state_dict()[name].shape
    assert any(back[name].ne(first[name]).any() for name in back)  # something was cut at all


def test_every_weight_is_a_first_weight_at_its_layers_scale(compact):
    trained = {name: tensor.clone() for name, tensor in compact.module.state_dict().items()}
    first = network(1)
    start_afresh(compact.module, compact.plan["parameters"], first)
    state, whole = compact.module.state_dict(), first.state_dict()
    scaled = 0
    for name, entry in compact.plan["parameters"].items():
        if entry["shape"] is None:
            continue
        if entry["new"]:
            assert not state[name].any()
            continue
        factor = 1.0
        if len(entry["shape"]) > 1:
            factor = math.sqrt(entry["shape"][1] / state[name].shape[1])
            scaled += factor != 1.0
            assert not torch.isin(state[name], trained[name]).any()
        expected = cut(whole[name], entry) * factor
        torch.testing.assert_close(state[name], expected, rtol=1e-6, atol=0)
    assert scaled
    assert torch.isfinite(compact.module(IMAGE)["seg"]).all()


def test_another_network_is_refused(compact):
    wider = build("segnet", CHANNELS, {"widths": [7, 8]})
    with pytest.raises(WeightsError, match="of shape"):
        start_afresh(compact.module, compact.plan["parameters"], wider)


def test_it_is_trained_from_scratch_by_the_recipes_seed(
    compact, make_recipe, blobs, tasks, tmp_path
):
    parts = {"train_data": blobs(18), "val_data": blobs(6, seed=1), "tasks": tasks}
    recipe = make_recipe(model={"name": "segnet", "args": ARGS}, train={"epochs": 1})
    done = finetune(compact, recipe, fresh=True, root=tmp_path, **parts)
    assert done.result.run_dir.name.startswith("blobs-fresh-")
    assert done.compact.report.finetuned["fresh"]
    assert "from first weights" in done.compact.report.notes[-1]
    again = finetune(compact, recipe, fresh=True, run_dir=tmp_path / "again", **parts)
    other = make_recipe(model={"name": "segnet", "args": ARGS}, train={"epochs": 1}, seed=7)
    third = finetune(compact, other, fresh=True, run_dir=tmp_path / "third", **parts)
    one, two, three = (each.compact.module.state_dict() for each in (done, again, third))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], three[name]) for name in one)
    assert initial_network(recipe, tasks) is not None
    pretrained = make_recipe(model={"name": "segnet", "args": ARGS, "pretrained": "x.pth"})
    with pytest.raises(RecipeError, match=r"model\.pretrained"):
        finetune(compact, pretrained, fresh=True, root=tmp_path, **parts)
