"""Random graphs of norms, parameters, views and pads: exact and smaller."""

import pytest
from check_exact import check_exact, draw_inputs, settings_of, share_left
from random_nets import SIZE
from random_norm_nets import RandomNormNet, randomise_norms


def check(seed: int, *, dynamic: bool = False) -> float:
    """Compile one random net; return the share of parameters that is left."""
    model = randomise_norms(RandomNormNet(seed), seed)
    inputs = draw_inputs(seed, (2, 3, SIZE, SIZE))
    return share_left(check_exact(model, inputs, **{**settings_of(seed), "dynamic": dynamic}))


@pytest.mark.parametrize("block", range(2))
def test_random_norm_nets_compile_exactly(block: int) -> None:
    left = [check(seed) for seed in range(9 * block, 9 * block + 9)]
    assert sum(share < 0.9 for share in left) >= 3  # one that removes nothing would be exact too


def test_random_norm_nets_of_free_size_compile_exactly() -> None:
    for seed in (100, 101, 103, 105):  # of those whose own sizes fit at any size
        check(seed, dynamic=True)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_random_norm_nets_compile_exactly(block: int) -> None:
    for seed in range(20_000 + 50 * block, 20_050 + 50 * block):
        check(seed)
