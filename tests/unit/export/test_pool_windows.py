"""A pool may pick any of the equal values of its own window, and none of another window."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from compactmtl.errors import ExportError
from compactmtl.export.cases import Case
from compactmtl.export.parity import check_parity
from compactmtl.export.reference import MAX_POOL, Reference, outside_window

SETTINGS = [
    ((2,), {}),
    ((3, 2), {}),
    (([3, 2], [2, 1], [1, 0], [1, 2]), {}),
    ((3,), {"stride": 1, "padding": 1, "dilation": 2}),
    ((2, [], 0, 1, True), {}),  # no stride given, ceil_mode: windows reach beyond the plane
]


def places(size, count, kernel, stride, padding, dilation):
    """Return the places of each window of one axis."""
    return [
        {p for k in range(kernel) if 0 <= (p := i * stride - padding + k * dilation) < size}
        for i in range(count)
    ]


def both(value):
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values


@pytest.mark.parametrize(("args", "kwargs"), SETTINGS)
def test_a_place_is_in_a_window_where_counting_says_so(args, kwargs):
    x = torch.rand(1, 1, 7, 9, generator=torch.Generator().manual_seed(0))
    node = fx.Graph().call_function(MAX_POOL, (None, *args), kwargs)
    own = MAX_POOL(x, *args, **kwargs)[1]
    assert not outside_window(node, x, own).any()
    names = ("kernel_size", "stride", "padding", "dilation")
    given = dict(zip(names, args, strict=False)) | kwargs
    kernel = both(given["kernel_size"])
    stride = both(given.get("stride") or kernel)
    padding, dilation = both(given.get("padding", 0)), both(given.get("dilation", 1))
    rows, columns = (
        places(x.shape[2 + a], own.shape[2 + a], kernel[a], stride[a], padding[a], dilation[a])
        for a in (0, 1)
    )
    for row, column in product(range(7), range(9)):
        found = outside_window(node, x, torch.full_like(own, row * 9 + column))[0, 0]
        inside = [[row in r and column in c for c in columns] for r in rows]
        assert (~found).tolist() == inside
    assert outside_window(node, x, torch.full_like(own, -1)).all()
    assert outside_window(node, x, torch.full_like(own, 63)).all()


class Unpooling(nn.Module):
    def forward(self, x):
        y, indices = F.max_pool2d(x, 2, return_indices=True)
        return {"out": F.max_unpool2d(y, indices, 2)}


@pytest.mark.parametrize(("shift", "is_right"), [(1, True), (2, False)])
def test_an_equal_value_counts_only_in_the_own_window(capture_program, shift, is_right):
    x = torch.ones(2, 3, 4, 4)

    def artefact(inputs):
        y, indices = F.max_pool2d(torch.from_numpy(inputs["x"]), 2, return_indices=True)
        indices[..., 0] += shift  # 1: the other column of the window; 2: the next window
        return {"out": F.max_unpool2d(y, indices, 2).numpy()}, [indices.numpy()]

    def parity():
        return check_parity(
            artefact,
            Reference(capture_program(Unpooling(), x)),
            [Case({"x": x.numpy()}, "")],
            ["out"],
        )

    if is_right:
        assert parity().num_flips == 2 * 3 * 2
    else:
        with pytest.raises(ExportError, match="outside its window"):
            parity()
