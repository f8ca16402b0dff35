"""Random graphs of grouped convolutions, splits and shuffles: exact and smaller."""

import pytest
from check_exact import check_exact, draw_inputs, settings_of, share_left
from random_grouped_nets import RandomGroupedNet, randomise_grouped
from random_nets import SIZE


def check(seed: int) -> float:
    """Compile one random net; return the share of parameters that is left."""
    model = randomise_grouped(RandomGroupedNet(seed), seed)
    inputs = draw_inputs(seed, (2, 3, SIZE, SIZE))
    return share_left(check_exact(model, inputs, **settings_of(seed)))


@pytest.mark.parametrize("block", range(2))
def test_random_grouped_nets_compile_exactly(block: int) -> None:
    left = [check(seed) for seed in range(8 * block, 8 * block + 8)]
    assert sum(share < 0.9 for share in left) >= 4


@pytest.mark.parametrize("seed", [1449, 30167])
def test_grouped_nets_that_once_failed(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_random_grouped_nets_compile_exactly(block: int) -> None:
    for seed in range(20_000 + 50 * block, 20_050 + 50 * block):
        check(seed)
