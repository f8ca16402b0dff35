"""One-shot pruning: as many as asked for, the smallest, and a live group in every layer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compactmtl.errors import RecipeError, UsageError
from compactmtl.recipe import parse
from compactmtl.sparsity import ProximalAdamW, group_sparsity, groups, prune_smallest


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(5, 7, 3), nn.Conv2d(7, 4, 1), nn.Linear(4, 3))


def sizes(model: nn.Module) -> list[torch.Tensor]:
    found = groups(model, layers="*", reads=())
    return [group.norms() / group.scale for group in found]


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 99))
def test_the_smallest_go_and_no_layer_dies(share: float, seed: int) -> None:
    model = network(seed)
    before, found = sizes(model), groups(model, layers="*", reads=())
    total, possible = 16, 13
    if round(share * total) > possible:
        with pytest.raises(UsageError, match="one of every layer stays"):
            prune_smallest(found, share)
        return
    prune_smallest(found, share)
    zero = [group.is_zero() for group in found]
    assert sum(int(mask.sum()) for mask in zero) == round(share * total)
    assert all((~mask).any() for mask in zero)
    spared = [size[~mask & (size < size.max())] for size, mask in zip(before, zero, strict=True)]
    gone = torch.cat([size[mask] for size, mask in zip(before, zero, strict=True)])
    if len(gone) and len(torch.cat(spared)):
        assert gone.max() <= torch.cat(spared).min()
    kept = [size[~mask] for size, mask in zip(sizes(model), zero, strict=True)]
    assert torch.equal(
        torch.cat(kept), torch.cat([s[~m] for s, m in zip(before, zero, strict=True)])
    )


def test_what_is_zero_already_counts() -> None:
    model = network()
    found = groups(model, layers="*", reads=())
    prune_smallest(found, 0.5)
    before = [parameter.clone() for parameter in model.parameters()]
    prune_smallest(found, 0.5)
    assert all(map(torch.equal, before, model.parameters()))


def test_a_run_prunes_once_and_keeps_the_zeros(train) -> None:
    sparsity = {"schedule": "once", "target": 0.5, "start": 0.5}
    result = train(train={"epochs": 4}, sparsity=sparsity)
    phases = [record["phase"] for record in result.history]
    assert phases == ["dense", "dense", "debias", "debias"]
    shares = [r["sparsity"]["zero_groups"] / r["sparsity"]["num_groups"] for r in result.history]
    assert shares[0] == 0
    assert shares[2] == shares[3] == pytest.approx(0.5, abs=0.05)
    assert group_sparsity(groups(result.model)) == shares[3]


def test_a_run_that_is_stopped_after_pruning_goes_on_with_the_same_zeros(train, tmp_path) -> None:
    sections = {
        "train": {"epochs": 3},
        "sparsity": {"schedule": "once", "target": 0.5, "start": 0.34},
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
    assert all(map(torch.equal, whole.model.parameters(), again.model.parameters()))


@pytest.mark.parametrize(
    "section", [{"schedule": "once"}, {"schedule": "once", "target_macs": 0.5}]
)
def test_a_recipe_that_prunes_once_says_how_much(section, make_recipe) -> None:
    with pytest.raises(RecipeError, match="target"):
        make_recipe(sparsity=section)


def test_coupled_decay_is_adam_before_and_after_a_state_is_loaded() -> None:
    """Planted error: with decoupled decay the two part at once."""

    def steps(optimizer: torch.optim.Optimizer, model: nn.Module, num: int) -> None:
        for index in range(num):
            torch.manual_seed(index)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()

    ours, theirs, apart = network(), network(), network()
    options = {"lr": 1e-2, "weight_decay": 0.1}
    one = ProximalAdamW(
        ours.parameters(), groups=groups(ours, layers="*", reads=()), lam=0.0, decoupled=False,
        **options,
    )  # fmt: skip
    adam = torch.optim.Adam(theirs.parameters(), **options)
    adamw = torch.optim.AdamW(apart.parameters(), **options)
    steps(one, ours, 2)
    again = ProximalAdamW(
        ours.parameters(), groups=groups(ours, layers="*", reads=()), lam=0.0, decoupled=False,
        **options,
    )  # fmt: skip
    again.load_state_dict(one.state_dict())
    steps(again, ours, 2)
    for _ in range(2):
        steps(adam, theirs, 2)
        steps(adamw, apart, 2)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert not any(map(torch.equal, apart.parameters(), theirs.parameters()))


def test_a_recipe_reaches_the_optimiser(train) -> None:
    coupled = train(train={"decay": "coupled", "weight_decay": 0.5})
    decoupled = train(train={"weight_decay": 0.5})
    pairs = zip(coupled.model.parameters(), decoupled.model.parameters(), strict=True)
    assert any(not torch.equal(one, two) for one, two in pairs)
    document = {"name": "x", "model": {"name": "segnet"}, "data": {"name": "rooms"}}
    assert parse({**document, "tasks": {"seg": {}}}, source="x").train.decay == "decoupled"
