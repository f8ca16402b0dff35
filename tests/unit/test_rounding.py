"""Numbers that are rounded in another way."""

import pytest
import torch

from compactmtl.rounding import nudged


def test_every_number_moves_by_one_unit_at_most_and_zero_stays():
    value = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 1e3
    value[::7] = 0
    got = nudged(value, torch.Generator().manual_seed(1))
    up, down = (torch.nextafter(value, value * 2), torch.nextafter(value, value * 0))
    assert bool(((got == value) | (got == up) | (got == down)).all())
    assert bool((got[::7] == 0).all())
    for moved in (up, down, value):  # each of the three is drawn
        assert 0.2 < (got[value != 0] == moved[value != 0]).double().mean() < 0.5
    assert torch.equal(got, nudged(value, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_other_types_come_back_as_they_are(dtype):
    value = torch.arange(5).to(dtype)
    assert nudged(value, torch.Generator()) is value
