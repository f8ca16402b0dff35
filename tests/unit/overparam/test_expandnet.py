import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import compactmtl.overparam as op
from compactmtl.errors import UsageError
from compactmtl.overparam.expandnet import compose

sizes = st.sampled_from([(1, 1), (3, 3), (1, 3), (3, 2)])


@settings(max_examples=30, deadline=None)
@given(first=sizes, second=sizes, channels=st.integers(1, 4), seed=st.integers(0, 99))
def test_composing_kernels_is_convolving_twice(first, second, channels, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 2, 9, 8, dtype=torch.float64, generator=generator)
    one = torch.randn(channels, 2, *first, dtype=torch.float64, generator=generator)
    two = torch.randn(3, channels, *second, dtype=torch.float64, generator=generator)
    expected = F.conv2d(F.conv2d(image, one), two)
    torch.testing.assert_close(F.conv2d(image, compose(two, one)), expected, rtol=0, atol=1e-11)


def test_padding_before_the_first_is_the_same_at_borders_and_padding_inside_is_not():
    image = torch.randn(1, 2, 6, 6, dtype=torch.float64)
    one = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    two = torch.randn(3, 4, 3, 3, dtype=torch.float64)
    kernel = compose(two, one)
    whole = F.conv2d(image, kernel, padding=2)
    outside = F.conv2d(F.conv2d(image, one, padding=2), two)
    inside = F.conv2d(F.conv2d(image, one, padding=1), two, padding=1)
    torch.testing.assert_close(whole, outside, rtol=0, atol=1e-11)
    assert (whole - inside).abs().max() > 0.1  # the border is where the published fold is exact


def test_the_image_is_not_widened_and_the_inside_is():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
    op.expand(net, tasks=("a",), method="expandnet", layers="*")
    shapes = [[tuple(p.shape) for n, p in layer.named_parameters() if "F_" in n] for layer in net]
    assert shapes[0] == [(3, 3, 1, 1), (32, 3, 3, 3), (8, 32, 1, 1)]
    assert shapes[1] == [(32, 8, 1, 1), (32, 32, 3, 3), (8, 32, 1, 1)]


@pytest.mark.parametrize("ratio", [2, None])
def test_a_large_kernel_that_is_no_product_says_how_to_start(ratio):
    layer = nn.Conv2d(4, 4, 7 if ratio is None else 5)
    with pytest.raises(UsageError, match="no product of 3x3") as caught:
        op.expand(
            nn.Sequential(layer), tasks=("a",), method="expandnet_ck", layers="*", ratio=ratio
        )
    assert "direct" in caught.value.hint
    net = nn.Sequential(layer)
    op.expand(net, tasks=("a",), method="expandnet_ck", layers="*", ratio=ratio, init="direct")
    assert net(torch.randn(1, 4, 8, 8)).shape == (1, 4, *[2 if ratio is None else 4] * 2)
