"""The form is read off the program; what cannot be told apart from a collision is not unique."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compactmtl.export.rewrites.unpooling import Unpooling, unpooling

TILES = Unpooling((2, 2), True)
SCATTER = Unpooling(None, True)
NEITHER = Unpooling(None, False)
KEEP = torch.tensor([2, 0])


def pool(x, *args, **kwargs):
    return F.max_pool2d(x, *args, return_indices=True, **kwargs)


def back(values, indices, x):
    return torch.ops.aten.max_unpool2d(values, indices, list(x.shape[-2:]))


def same_windows(x):
    return back(*pool(x, 2), x)


def chosen_planes(x):
    values, indices = (y.index_select(1, KEEP) for y in pool(x, 2))
    return back(values, indices.clone(), x)


def sliced_and_joined(x):
    values, indices = (torch.cat([y[:, :1], y[:, 2:]], 1) for y in pool(x, 2))
    return back(values, indices, x)


def indexed_planes(x):
    values, indices = (y[:, KEEP] for y in pool(x, 2))
    return back(values, indices, x)


def another_plane(x):
    values, indices = pool(x, 2)
    return torch.ops.aten.max_unpool2d(values, indices, [x.shape[-2] + 2, x.shape[-1]])


def apart(x):
    return back(*pool(x, 2, stride=3), x)


def two_tilings(x):
    return back(*pool(x, 2), x) + back(*pool(x, 3), x)


def overlapping(x):
    return back(*pool(x, 3, stride=2), x)


def padded(x):
    return back(*pool(x, 3, padding=1), x)


def chosen_rows(x):
    values, indices = (y[:, :, :1] for y in pool(x, 2))
    return back(values, indices, x)


def changed(x):
    values, indices = pool(x, 2)
    return back(values, indices // 2, x)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (same_windows, TILES),
        (chosen_planes, TILES),
        (sliced_and_joined, TILES),
        (indexed_planes, TILES),
        (another_plane, SCATTER),
        (apart, SCATTER),
        (padded, SCATTER),
        (two_tilings, SCATTER),
        (overlapping, NEITHER),
        (chosen_rows, NEITHER),
        (changed, NEITHER),
    ],
)
@pytest.mark.parametrize("dynamic", [True, False])
def test_form(capture_program, function, expected, dynamic):
    class Net(nn.Module):
        def forward(self, x):
            return function(x)

    program = capture_program(Net(), torch.rand(2, 3, 12, 16), dynamic=dynamic)
    assert unpooling(program) == expected
