"""Random graphs of norms, parameters, views and pads; `compress` verifies itself and raises."""

import pytest
import torch
from random_nets import SIZE
from random_norm_nets import RandomNormNet, randomise_norms

from compactmtl.compiler import compress


def check(seed: int, *, dynamic: bool = False) -> float:
    """Compile one random net; return the share of parameters that is left."""
    model = randomise_norms(RandomNormNet(seed), seed)
    image = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    objective = ("latency", "macs")[seed % 2]
    compact = compress(model, image, objective=objective, gather=seed % 3 != 0, dynamic=dynamic)
    expected, got = model(image), compact.module(image)
    assert list(got) == list(expected)
    assert all(got[name].shape == expected[name].shape for name in expected)
    return compact.report.after.num_params / compact.report.before.num_params


@pytest.mark.parametrize("block", range(4))
def test_random_norm_nets_compile_exactly(block: int) -> None:
    left = [check(seed) for seed in range(10 * block, 10 * block + 10)]
    assert sum(share < 0.9 for share in left) >= 3  # one that removes nothing would be exact too


def test_random_norm_nets_of_free_size_compile_exactly() -> None:
    for seed in (100, 101, 103, 105):  # of those whose own sizes fit at any size
        check(seed, dynamic=True)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_norm_nets_compile_exactly(block: int) -> None:
    for seed in range(20_000 + 50 * block, 20_050 + 50 * block):
        check(seed)
