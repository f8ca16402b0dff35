"""Random graphs: `compress` verifies itself in float64 and raises where anything differs."""

import pytest
from check_exact import check_exact, draw_inputs, settings_of, share_left
from random_nets import SIZE, RandomNet, randomise


def check(seed: int) -> float:
    """Compile one random net; return the share of parameters that is left."""
    model = randomise(RandomNet(seed), seed)
    inputs = draw_inputs(seed, (2, 3, SIZE, SIZE))
    return share_left(check_exact(model, inputs, **settings_of(seed)))


@pytest.mark.parametrize("block", range(3))
def test_random_nets_compile_exactly(block: int) -> None:
    left = [check(seed) for seed in range(12 * block, 12 * block + 12)]
    # A compiler that removes nothing would be exact too.
    assert sum(share < 0.9 for share in left) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_nets_compile_exactly(block: int) -> None:
    for seed in range(10_000 + 50 * block, 10_050 + 50 * block):
        check(seed)


@pytest.mark.parametrize("seed", [212, 233, 248, 427, 500, 859, 36, 57])
def test_nets_that_once_failed(seed: int) -> None:
    check(seed)
