"""DeepLabV3 heads."""

import pytest
import torch
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50

from compactmtl.errors import RecipeError, UsageError
from compactmtl.models.deeplab import DeepLab, DeepLabHead


@pytest.fixture
def small():
    torch.manual_seed(0)
    return DeepLab({"seg": 4}, depth=18, width=0.0625, head_channels=5)


def test_head_has_the_published_layers():
    head = DeepLabHead(2048, 13, 256, (12, 24, 36), 0.1)
    convs = [m for m in head.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.dilation[0]) for c in convs] == [
        (2048, 256, 1, 1),
        (2048, 256, 3, 12),
        (2048, 256, 3, 24),
        (2048, 256, 3, 36),
        (2048, 256, 1, 1),  # behind the mean over the image
        (1280, 256, 1, 1),
        (256, 256, 3, 1),
        (256, 13, 1, 1),
    ]
    assert [c.bias is not None for c in convs] == [False] * 7 + [True]


def test_number_of_parameters_equals_torchvisions():
    with torch.device("meta"):
        network = DeepLab({"seg": 21}, depth=50)
        theirs = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21)
    assert sum(p.numel() for p in network.parameters()) == sum(
        p.numel() for p in theirs.parameters()
    )


def test_pooled_branch_sees_the_whole_image():
    # A change in one corner reaches the opposite one, beyond the reach of the largest rate.
    torch.manual_seed(0)
    head = DeepLabHead(3, 2, 32, (1,), 0.0).eval()
    features = torch.rand(1, 3, 20, 20)
    changed = features.clone()
    changed[:, :, 0, 0] += 100
    with torch.no_grad():
        assert (head(features) != head(changed))[:, :, -1, -1].any()


def test_dropout_acts_in_training_only(small):
    image = torch.rand(2, 3, 64, 64)
    small.eval()
    assert torch.equal(small(image)["seg"], small(image)["seg"])
    small.train()
    assert not torch.equal(small(image)["seg"], small(image)["seg"])


def test_no_dropout_is_possible():
    network = DeepLab({"seg": 2}, depth=18, width=0.0625, head_channels=4, dropout=0.0)
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(network(image)["seg"], network(image)["seg"])


def test_single_image_in_training_is_refused(small):
    with pytest.raises(UsageError, match="batch of one image") as caught:
        small.train()(torch.rand(1, 3, 64, 64))
    assert "batch_size" in caught.value.hint
    assert small.eval()(torch.rand(1, 3, 64, 64))["seg"].shape == (1, 4, 64, 64)


@pytest.mark.parametrize("args", [{"head_channels": 0}, {"rates": (0,)}])
def test_impossible_sizes_are_refused(args):
    with pytest.raises(RecipeError, match="must be positive"):
        DeepLab({"seg": 2}, depth=18, **args)
