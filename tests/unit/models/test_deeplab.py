"""DeepLabV3 heads."""

import pytest
import torch
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50

from compactmtl.compiler import compress
from compactmtl.errors import RecipeError, UsageError
from compactmtl.models.deeplab import DeepLab, DeepLabHead
from compactmtl.sparsity import groups


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


@pytest.fixture
def faces():
    torch.manual_seed(0)
    tasks = {"seg": 3, "male": 2, "smiling": 2}
    return DeepLab(tasks, depth=50, width=0.0625, head_channels=5, stem="deep",
                   image_tasks=("male", "smiling")).eval()  # fmt: skip


def test_image_tasks_have_one_output_per_image(faces):
    raws = faces(torch.rand(2, 3, 45, 38))
    assert {name: tuple(raw.shape) for name, raw in raws.items()} == {
        "seg": (2, 3, 45, 38), "male": (2, 2), "smiling": (2, 2),
    }  # fmt: skip
    convs = [m for m in faces.heads["male"].modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [tuple(m.weight.shape[:2]) for m in convs] == [(64, 128), (32, 64), (2, 32)]


def test_the_deep_stem_has_three_convolutions_and_twice_the_channels(faces):
    stem = [m for m in faces.encoder.conv1 if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.stride[0]) for c in stem] == [
        (3, 4, 2), (4, 4, 1), (4, 8, 1),
    ]  # fmt: skip
    assert faces.encoder.layer1[0].conv1.in_channels == 8


def test_heads_reads_are_those_of_the_heads_there_are(faces):
    assert "heads.male.conv" in faces.head_reads
    assert "heads.seg.pooled.0" in faces.head_reads
    found = groups(faces)
    assert {g.name for g in found} >= {"heads.male.conv", "heads.seg.branches.1.0"}


def test_a_network_with_image_tasks_is_compiled_exactly(faces):
    for each in groups(faces):
        if each.num_groups > 4:
            zeros = torch.arange(0, each.num_groups, 2)
            each.parameter.data.index_fill_(each.dim, zeros, 0.0)
    compact = compress(faces, torch.rand(1, 3, 64, 64))
    assert compact.report.after.macs < compact.report.before.macs


def test_an_image_task_or_stem_that_there_is_not_is_refused():
    with pytest.raises(RecipeError, match="no task `mael` in image_tasks"):
        DeepLab({"male": 2}, depth=18, image_tasks=("mael",))
    with pytest.raises(RecipeError, match="stem is `d`"):
        DeepLab({"male": 2}, depth=18, stem="d")
