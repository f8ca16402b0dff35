"""Random graphs: weights go back to the original's shapes, and the plan is carried out again."""

import json

import pytest
import torch
from random_grouped_nets import RandomGroupedNet, randomise_grouped
from random_nets import SIZE, RandomNet, randomise
from random_norm_nets import RandomNormNet, randomise_norms
from random_shared_nets import RandomSharedNet
from torch.utils._pytree import tree_leaves

from compactmtl.compiler import compress, replay
from compactmtl.compiler.replay import recorded
from compactmtl.errors import CompilerError, WeightsError

KINDS = {
    "plain": (RandomNet, randomise),
    "grouped": (RandomGroupedNet, randomise_grouped),
    "norms": (RandomNormNet, randomise_norms),
    "shared": (RandomSharedNet, randomise_grouped),
}


def check(kind: str, seed: int) -> int:
    """Rebuild one random net from its plan; return how many parameters are cut."""
    network, draw = KINDS[kind]
    image = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    model = draw(network(seed), seed)
    compact = compress(
        model, image, objective=("latency", "macs")[seed % 2], gather=seed % 3 != 0, dynamic=False
    )
    plan = json.loads(json.dumps(recorded(compact)))
    entries = plan["parameters"]
    assert all(entry["axes"] is not None for entry in entries.values())
    again = replay(model, plan)  # the original weights
    for name, value in compact.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[name], value), name
    fresh = draw(network(seed), seed + 1)
    for other in (fresh, model):
        try:
            again = replay(other, plan, weights=compact.module.state_dict())
        except (CompilerError, WeightsError):
            assert other is fresh  # a dead branch became constants that no weight holds
            continue
        for got, expected in zip(
            tree_leaves(again.module(image)), tree_leaves(compact.module(image)), strict=True
        ):
            assert torch.equal(got, expected)
    return sum(any(axis is not None for axis in entry["axes"]) for entry in entries.values())


@pytest.mark.parametrize("kind", KINDS)
def test_random_nets_are_rebuilt_from_plan_and_weights(kind: str) -> None:
    assert sum(check(kind, seed) for seed in range(2)) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_many_random_nets_are_rebuilt_from_plan_and_weights(kind: str, block: int) -> None:
    for seed in range(20_000 + 25 * block, 20_025 + 25 * block):
        check(kind, seed)
