"""The dilated ResNet against torchvision's strided one."""

import pytest
import torch
import torchvision
from torch import nn

from compactmtl.errors import RecipeError
from compactmtl.models.resnet import DilatedResNet


def strided(depth):
    """Return torchvision's network with random running statistics, so that batch norm matters."""
    torch.manual_seed(depth)
    network = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return network.eval()


def features(network, image):
    x = network.maxpool(network.relu(network.bn1(network.conv1(image))))
    return network.layer4(network.layer3(network.layer2(network.layer1(x))))


@pytest.fixture(scope="module", params=[18, 50])
def pair(request):
    theirs = strided(request.param)
    ours = DilatedResNet(request.param)
    result = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert result.missing_keys == []
    assert result.unexpected_keys == ["fc.weight", "fc.bias"]
    return ours.eval(), theirs


@pytest.mark.parametrize("size", [(64, 96), (75, 101)])
def test_every_fourth_value_is_that_of_the_strided_network(pair, size):
    ours, theirs = pair
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        dense, sparse = ours(image), features(theirs, image)
    assert dense.shape[1:] == (ours.num_channels, -(-size[0] // 8), -(-size[1] // 8))
    scale = sparse.abs().max().item()
    # float32, up to 50 layers of up to 4608 products: 1e-4 relative to the largest value.
    torch.testing.assert_close(dense[:, :, ::4, ::4], sparse, rtol=0, atol=1e-4 * scale)


def test_oracle_fails_on_a_wrong_dilation(pair):
    ours, theirs = pair
    block = ours.layer4[1]
    conv = block.conv1 if block.conv1.kernel_size == (3, 3) else block.conv2
    image = torch.rand(1, 3, 64, 96)
    conv.dilation = conv.padding = (2, 2)
    with torch.no_grad():
        dense, sparse = ours(image), features(theirs, image)
    conv.dilation = conv.padding = (4, 4)
    scale = sparse.abs().max().item()
    assert (dense[:, :, ::4, ::4] - sparse).abs().max() > 1e-2 * scale


@pytest.mark.parametrize("depth", [18, 50])
def test_width_scales_every_layer(depth):
    full, narrow = DilatedResNet(depth), DilatedResNet(depth, width=0.25)
    for one, other in zip(full.modules(), narrow.modules(), strict=True):
        if isinstance(one, nn.Conv2d):
            assert one.out_channels == 4 * other.out_channels
    assert full.num_channels == 4 * narrow.num_channels


def test_width_that_leaves_nothing_is_refused():
    with pytest.raises(RecipeError, match="leaves no channel"):
        DilatedResNet(18, width=0.001)
