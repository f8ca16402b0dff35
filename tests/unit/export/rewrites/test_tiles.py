"""Plain operators pool and unpool as torch does, to the bit, with ties and where tiles end."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compactmtl.export.recapture import at_fixed_sizes
from compactmtl.export.rewrites import tiles
from compactmtl.export.rewrites.unpooling import POOL, UNPOOL

SIZES = st.integers(4, 9)
TILES = st.tuples(st.integers(1, 3), st.integers(1, 4))


def check(height, width, tile, seed):
    # Few values, so that many are equal.
    image = torch.randint(
        -2, 3, (2, 3, height, width), generator=torch.Generator().manual_seed(seed)
    )
    image = image.float()
    want, indices = F.max_pool2d(image, tile, return_indices=True)
    got, found = tiles.pool_tiles(image, tile)
    assert torch.equal(got, want)
    assert torch.equal(found, indices)
    size = (height, width)
    whole = torch.ops.aten.max_unpool2d(want, indices, list(size))
    assert torch.equal(tiles.unpool_tiles(want, indices, size, tile), whole)


@settings(deadline=None)
@given(SIZES, SIZES, TILES, st.integers(0, 99))
def test_they_compute_what_torch_does(height, width, tile, seed):
    check(height, width, tile, seed)


def test_the_check_sees_a_last_maximum(monkeypatch):
    check(8, 9, (2, 2), 0)
    monkeypatch.setattr(torch.Tensor, "__gt__", torch.Tensor.__ge__)
    with pytest.raises(AssertionError):
        check(8, 9, (2, 2), 0)


def test_a_program_in_tiles_has_neither_operator_and_selects_the_same(program, network):
    image = torch.rand(1, 3, 32, 48)
    plain = at_fixed_sizes(program, [image], selections=True)
    fixed = at_fixed_sizes(program, [image], selections=True, tiles=True)
    assert {POOL, UNPOOL} & {node.target for node in plain.graph.nodes} == {POOL, UNPOOL}
    assert not {POOL, UNPOOL} & {node.target for node in fixed.graph.nodes}
    for got, want in zip(fixed.module()(image), plain.module()(image), strict=True):
        assert torch.equal(got, want)


class Overlapping(nn.Module):
    def forward(self, image):
        values, indices = F.max_pool2d(image, 3, stride=2, return_indices=True)
        return torch.ops.aten.max_unpool2d(values, indices, list(image.shape[-2:]))


def test_windows_that_do_not_tile_stay_as_they_are(capture_program):
    image = torch.rand(1, 2, 9, 9)
    program = capture_program(Overlapping(), image, dynamic=False)
    targets = {node.target for node in at_fixed_sizes(program, [image], tiles=True).graph.nodes}
    assert {POOL, UNPOOL} <= targets
