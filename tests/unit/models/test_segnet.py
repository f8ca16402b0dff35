"""SegNet."""

import pytest
import torch
from torch import nn

from compactmtl.errors import RecipeError
from compactmtl.models import MODELS
from compactmtl.models.segnet import SegNet


@pytest.fixture(scope="module")
def full():
    with torch.device("meta"):
        return SegNet({"seg": 13, "depth": 1, "normals": 3})


def num_params(module):
    return sum(p.numel() for p in module.parameters())


def test_trunk_has_26_convolutions_of_24_92_million_weights(full):
    convs = [m for m in full.encoder.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 26
    assert all(
        c.kernel_size == (3, 3) and c.padding == (1, 1) and c.bias is not None for c in convs
    )
    assert sum(c.weight.numel() for c in convs) == 24_921_792


def test_stages_have_the_published_layers(full):
    def widths(stages):
        return [[m.out_channels for m in s if isinstance(m, nn.Conv2d)] for s in stages]

    assert widths(full.encoder.down) == [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]
    assert widths(full.encoder.up) == [[512] * 3, [256] * 3, [128] * 3, [64] * 2, [64] * 2]


def test_number_of_parameters_is_the_reference(full):
    # 24,981,069 is the reference of the published code: SegNet with one head of 13 classes.
    assert num_params(full.encoder) + num_params(full.heads["seg"]) == 24_981_069
    assert num_params(full) == 25_055_185


def test_half_the_width_is_about_a_quarter_of_the_weights():
    with torch.device("meta"):
        small = MODELS["segnet_s"]({"seg": 13})
    weights = sum(m.weight.numel() for m in small.encoder.modules() if isinstance(m, nn.Conv2d))
    assert weights == (24_921_792 - 3 * 64 * 9) // 4 + 3 * 32 * 9


def test_initialisation_is_xavier_normal_with_zero_bias():
    torch.manual_seed(0)
    network = SegNet({"seg": 4}, (32, 64))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert not module.bias.any()
            fan = (module.in_channels + module.out_channels) * module.kernel_size[0] ** 2
            # 4 standard errors of a standard deviation from n samples
            spread = 4 / (2 * module.weight.numel()) ** 0.5
            assert module.weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=spread)


def test_values_return_to_where_they_were_the_maximum():
    # With empty stages, unpooling leaves the maximum of each 2x2 window and zeros elsewhere.
    network = SegNet({"seg": 1}, (3,))
    for stage in (*network.encoder.down, *network.encoder.up):
        del stage[:]
    image = torch.tensor([[1.0, 2, 9], [3, 4, 9], [9, 9, 9]]).expand(1, 3, 3, 3)
    expected = torch.tensor([[0.0, 0, 0], [0, 4, 0], [0, 0, 0]]).expand(1, 3, 3, 3)
    assert torch.equal(network.encoder(image), expected)


@pytest.mark.parametrize("widths", [(), (4,) * 6, (4, 0)])
def test_impossible_widths_are_refused(widths):
    with pytest.raises(RecipeError, match="one to five positive"):
        SegNet({"seg": 2}, widths)
