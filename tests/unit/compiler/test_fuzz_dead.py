"""Random graphs with whole dead branches and layers, two inputs and shared layers: exact."""

import pytest
from check_exact import check_exact, draw_inputs, settings_of, share_left
from random_dead_nets import RandomDeadNet, randomise_dead
from random_nets import SIZE

from compactmtl.compiler import compress


def check(seed: int, *, again: bool = False) -> float:
    """Compile one random net, perhaps twice; return the share of parameters that is left."""
    model = randomise_dead(RandomDeadNet(seed), seed)
    inputs = draw_inputs(seed, (2, 3, SIZE, SIZE), (2, 2, SIZE, SIZE))
    settings = settings_of(seed)
    compact = check_exact(model, inputs, **settings)
    if again:
        assert compress(compact.module, inputs, **settings).report.after == compact.report.after
    return share_left(compact)


@pytest.mark.parametrize("block", range(2))
def test_random_dead_nets_compile_exactly(block: int) -> None:
    left = [check(seed, again=seed % 5 == 0) for seed in range(9 * block, 9 * block + 9)]
    assert sum(share < 0.5 for share in left) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_random_dead_nets_compile_exactly(block: int) -> None:
    for seed in range(30_000 + 50 * block, 30_050 + 50 * block):
        check(seed)
