"""Random graphs: `compress` verifies itself in float64 and raises where anything differs."""

import pytest
import torch
from random_nets import SIZE, RandomNet, randomise

from compactmtl.compiler import compress

OBJECTIVES = ("latency", "macs")


def check(seed: int, *, dynamic: bool = False) -> float:
    """Compile one random net; return the share of parameters that is left."""
    model = randomise(RandomNet(seed), seed)
    image = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    expected = {name: value.clone() for name, value in model(image).items()}
    compact = compress(
        model, image, objective=OBJECTIVES[seed % 2], gather=seed % 3 != 0, dynamic=dynamic
    )
    got = compact.module(image)
    assert list(got) == list(expected)
    # A maximum chosen the other way at a near-tie moves a value: only `compress`, which imposes the
    # original's choices, can compare then.
    flipped = compact.report.verification["selection_flips"] > 0
    for name, value in () if flipped else expected.items():
        torch.testing.assert_close(
            got[name], value, rtol=1e-3, atol=1e-4 * value.abs().max().item()
        )
    return compact.report.after.num_params / compact.report.before.num_params


@pytest.mark.parametrize("block", range(10))
def test_random_nets_compile_exactly(block: int) -> None:
    left = [check(seed) for seed in range(15 * block, 15 * block + 15)]
    # A compiler that removes nothing would be exact too.
    assert sum(share < 0.9 for share in left) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("block", range(40))
def test_many_random_nets_compile_exactly(block: int) -> None:
    for seed in range(10_000 + 50 * block, 10_050 + 50 * block):
        check(seed)


@pytest.mark.parametrize("seed", [212, 233, 248, 427, 500, 859, 36, 57])
def test_nets_that_once_failed(seed: int) -> None:
    check(seed)
