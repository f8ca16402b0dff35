"""A compact model comes back from its file to the bit, and compiling it again changes nothing."""

import copy

import pytest
import torch
from families import FAMILIES, compiled, image
from torch.utils._pytree import tree_leaves

from compactmtl.compact import load
from compactmtl.compiler import compress

QUICK = ("convnext", "segnet")
NAMES = [
    *QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES if n not in QUICK)
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_file_gives_back_outputs_state_and_modes_to_the_bit(name: str, tmp_path) -> None:
    compact = copy.deepcopy(compiled(name))
    compact.module.train()
    compact.save(tmp_path / "model.pt2")  # whatever the mode
    assert compact.module.training
    loaded = load(tmp_path / "model.pt2")
    assert not loaded.module.training
    assert (loaded.manifest, loaded.plan) == (compact.manifest, compact.plan)
    assert loaded.report.to_dict() == compact.report.to_dict()
    state = compact.module.state_dict()
    assert list(loaded.module.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in loaded.module.state_dict().items())
    for mode in (False, True):
        results = []
        for module in (loaded.module, compact.module):
            module.train(mode)
            torch.manual_seed(0)
            results.append(tree_leaves(module(image())))
        assert all(torch.equal(got, expected) for got, expected in zip(*results, strict=True))
    state = compact.module.state_dict()  # batch norm has moved both alike
    assert all(torch.equal(value, state[key]) for key, value in loaded.module.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_compiling_twice_changes_nothing(name: str) -> None:
    once = compiled(name)
    twice = compress(once.module, image(), dynamic=False, objective="macs")
    assert twice.report.opaque == []
    assert twice.report.after == once.report.after == twice.report.before
    entries = [entry for entry in twice.plan["parameters"].values() if not entry["new"]]
    assert all(axis is None for entry in entries for axis in entry["axes"])
    for got, expected in zip(
        tree_leaves(twice.module(image())), tree_leaves(once.module(image())), strict=True
    ):
        assert torch.equal(got, expected)
