"""Panoptic FPN: against torchvision's own Mask R-CNN, and what the library does to networks."""

import copy

import pytest
import squares
import torch
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from compactmtl.data.batch import collate
from compactmtl.errors import RecipeError, UsageError
from compactmtl.models import MODELS
from compactmtl.models.panoptic_fpn_dense import LEVELS
from compactmtl.models.panoptic_fpn_merge import merge
from compactmtl.multitask.losses import outputs, task_losses
from compactmtl.multitask.segments import VOID, class_of
from compactmtl.multitask.task import trained
from compactmtl.overparam import contract, expand, is_expanded
from compactmtl.sparsity import groups

TASKS = {"instances": 1, "semantic": 2, "panoptic": 1}


def network(**args):
    torch.manual_seed(0)
    return MODELS["panoptic_fpn"](TASKS, **{**squares.TINY, **args})


@pytest.fixture(scope="module")
def batch():
    data = squares.Squares(3)
    return collate([data[index] for index in range(3)], squares.tasks())


class Backbone(nn.Module):
    """The pyramid of a network of ours, as torchvision calls it."""

    def __init__(self, dense):
        super().__init__()
        self.dense, self.out_channels = dense, 8

    def forward(self, image):
        found = self.dense(image)
        return {**{level: found[level] for level in LEVELS}, "p6": found["p5"][:, :, ::2, ::2]}


class Proposals(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, levels):
        found = [self.head(level) for level in levels]
        return [x[:, :3] for x in found], [x[:, 3:] for x in found]


def by_torchvision(ours):
    """Put our layers into torchvision's whole Mask R-CNN."""
    heads = ours.detector.roi_heads
    sizes = ours.detector.rpn.anchor_generator.sizes
    canonical = round(sizes[2][0] * 224 / 128)
    pools = [
        MultiScaleRoIAlign(list(LEVELS), size, 2, canonical_scale=canonical) for size in (7, 14)
    ]
    whole = MaskRCNN(
        Backbone(ours.dense),
        min_size=64,
        max_size=64,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5),
        rpn_head=Proposals(ours.dense.rpn),
        rpn_pre_nms_top_n_train=60,
        rpn_pre_nms_top_n_test=30,
        rpn_post_nms_top_n_train=30,
        rpn_post_nms_top_n_test=30,
        box_roi_pool=pools[0],
        box_head=heads.box_head,
        box_predictor=nn.Identity(),
        box_detections_per_img=20,
        box_batch_size_per_image=32,
        mask_roi_pool=pools[1],
        mask_head=heads.mask_head,
        mask_predictor=nn.Identity(),
    )
    return whole.train(ours.training)


def same_detections(ours, theirs):
    for one, two in zip(ours, theirs, strict=True):
        assert torch.equal(one["boxes"], two["boxes"])
        assert torch.equal(one["scores"], two["scores"])
        assert torch.equal(one["labels"] + 1, two["labels"])
        assert torch.equal(one["masks"], two["masks"][:, 0] > 0.5)


@torch.no_grad()
def test_detections_are_those_of_torchvision(batch):
    ours = network().eval()
    found = ours(batch[0])["instances"]
    assert sum(len(one["scores"]) for one in found) > 10
    same_detections(found, by_torchvision(ours)(list(batch[0])))
    other = copy.deepcopy(ours)
    other.dense.rpn.predict.bias[0] += 0.05  # the oracle sees a planted error
    with pytest.raises(AssertionError):
        same_detections(found, by_torchvision(other)(list(batch[0])))


def test_losses_are_those_of_torchvision(batch):
    images, targets = batch
    ours = network().train()
    theirs = by_torchvision(ours)
    ours.dense.eval()
    theirs.transform.torch_choice = lambda sizes: sizes[0]  # draws nothing
    wanted = [
        {"boxes": one["boxes"], "labels": one["labels"] + 1, "masks": one["masks"].byte()}
        for one in targets["instances"]
    ]
    torch.manual_seed(1)
    got = ours(images, targets)["instances"]
    torch.manual_seed(1)
    want = theirs(list(images), wanted)
    assert got.keys() == want.keys()
    for name, value in want.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (45, 70), (33, 32)])
def test_outputs_have_the_size_of_the_image_and_the_form_of_their_task(size):
    model = network().eval()
    found = model(torch.rand(2, 3, *size))
    assert list(found) == list(TASKS)
    tasks = squares.tasks()
    for name, task in tasks.items():
        blank = task.missing(*size)
        for prediction in task.predict(found[name]):
            task.check_target(prediction, blank, name)
    assert found["semantic"].shape == (2, 2, *size)


def test_training_reaches_every_layer_and_each_task_its_own(batch):
    images, targets = batch
    model = network().train()
    raws = outputs(model, images, targets)
    assert list(raws) == ["instances", "semantic"]
    losses = task_losses(trained(squares.tasks()), raws, targets)
    reached = {}
    for name, loss in losses.items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        reached[name] = {n for n, p in model.named_parameters() if p.grad is not None}
    shared = {n for n, _ in model.named_parameters() if n.startswith(("dense.enc", "dense.fpn"))}
    own = {n for n, _ in model.named_parameters() if n.startswith("dense.semantic")}
    assert reached["semantic"] == shared | own
    assert reached["instances"] == {n for n, _ in model.named_parameters()} - own


def test_images_that_nobody_labelled_have_no_influence(batch):
    images, targets = batch
    model = network().train()
    model.dense.eval()
    task = squares.tasks()["instances"]
    torch.manual_seed(2)
    alone = model(images[1:2], {"instances": targets["instances"][1:2]})["instances"]
    torch.manual_seed(2)
    mixed = [task.missing(64, 64), targets["instances"][1], task.missing(64, 64)]
    with_others = model(images, {"instances": mixed})["instances"]
    for name, value in alone.items():
        torch.testing.assert_close(with_others[name], value, rtol=1e-5, atol=1e-6)
    nothing = task.loss(model(images[:1], {"instances": mixed[:1]})["instances"], mixed[:1])
    nothing.backward()
    assert nothing.item() == 0.0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_crowds_are_not_trained_on(batch):
    images, targets = batch
    model = network().train()
    model.dense.eval()
    one = targets["instances"][1]
    crowded = {
        **{key: torch.cat([one[key], one[key][:1]]) for key in ("boxes", "labels", "masks")},
        "crowd": torch.tensor([False] * len(one["crowd"]) + [True]),
        "labelled": one["labelled"],
    }
    losses = []
    for target in (one, crowded):
        torch.manual_seed(3)
        losses.append(model(images[1:2], {"instances": [target]})["instances"])
    assert losses[0] == losses[1]


@torch.no_grad()
@pytest.mark.parametrize("method", ["umv", "repvgg"])
def test_encoder_and_pyramid_expand_and_contract(batch, method):
    model = network().eval()
    before = model.dense(batch[0])
    report = expand(model, tasks=("instances", "semantic"), method=method)
    names = set(report.layers)
    assert any(name.startswith("dense.encoder.layer4") for name in names)
    if method == "umv":  # repvgg branches need the batch norm behind, which a pyramid has not
        assert any(name.startswith("dense.fpn.layer_blocks") for name in names)
    assert is_expanded(model)
    contract(model.eval())
    assert not is_expanded(model)
    for name, value in model.dense(batch[0]).items():
        torch.testing.assert_close(value, before[name], rtol=1e-3, atol=1e-4)


def test_heads_can_be_expanded_too():
    report = expand(network(), tasks=("instances", "semantic"), layers="*")
    for part in ("dense.rpn", "dense.semantic", "box_head.fc1", "mask_head.convs"):
        assert any(part in name for name in report.layers)


def test_groups_are_the_shared_layers_and_what_reads_them():
    names = {group.name for group in groups(network())}
    reads = {name for name in names if not name.startswith(("dense.encoder", "dense.fpn"))}
    assert reads == {
        "dense.rpn.conv",
        *(f"dense.semantic.branches.{level}.0.0" for level in range(4)),
        "detector.roi_heads.box_head.fc1",
        "detector.roi_heads.mask_head.convs.0",
    }


@torch.no_grad()
def test_the_static_parts_are_captured():
    model = network().eval()
    auto = torch.export.Dim.AUTO
    dense = torch.export.export(
        model.dense, (torch.rand(2, 3, 64, 96),), dynamic_shapes=({0: auto},)
    )
    image = torch.rand(3, 3, 64, 96)
    for name, value in dense.module()(image).items():
        torch.testing.assert_close(value, model.dense(image)[name], rtol=0, atol=0)
    heads = model.detector.roi_heads
    for head, size in ((heads.box_head, 7), (heads.mask_head, 14)):
        program = torch.export.export(
            head, (torch.rand(4, 8, size, size),), dynamic_shapes=({0: auto},)
        )
        rois = torch.rand(9, 8, size, size)
        torch.testing.assert_close(program.module()(rois), head(rois), rtol=0, atol=0)


def thing(score, label, y0, y1):
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[y0:y1] = True
    return score, label, mask


def merged(*found, logits=None, stuff_area=1):
    scores, labels, masks = zip(*found, strict=True) if found else ((), (), ())
    things = {
        "scores": torch.tensor(scores),
        "labels": torch.tensor(labels),
        "masks": torch.stack(masks) if masks else torch.zeros(0, 8, 8, dtype=torch.bool),
    }
    stuff = torch.zeros(3, 8, 8) if logits is None else logits
    return merge(things, stuff, 2, stuff_area=stuff_area)


def test_things_keep_what_is_free_and_go_where_too_little_is():
    # The second keeps the row 4 of 3, 4; the third would keep 1 row of 3; the fourth is unsure.
    ids = merged(thing(0.9, 0, 0, 4), thing(0.8, 1, 3, 5), thing(0.7, 0, 3, 6), thing(0.4, 0, 6, 8))
    assert class_of(ids)[:, 0].tolist() == [0, 0, 0, 0, 1, VOID, VOID, VOID]
    assert len(ids[ids >= 0].unique()) == 2


def test_stuff_fills_what_is_left_where_it_is_large_enough():
    logits = torch.zeros(3, 8, 8)
    logits[1, :6] = 1.0
    logits[2, 6:7] = 1.0  # the last row is `thing`, and nobody found one
    ids = merged(thing(0.9, 1, 0, 2), logits=logits, stuff_area=9)
    assert class_of(ids)[:, 0].tolist() == [1, 1, 2, 2, 2, 2, VOID, VOID]
    ids = merged(logits=logits, stuff_area=8)
    assert class_of(ids)[:, 0].tolist() == [2] * 6 + [3, VOID]


def test_wrong_uses_are_refused():
    with pytest.raises(RecipeError, match="the tasks are seg; expected instances, semantic"):
        MODELS["panoptic_fpn"]({"seg": 3})
    with pytest.raises(RecipeError, match="mask_channels"):
        network(mask_channels=0)
    with pytest.raises(RecipeError, match="anchor_sizes"):
        network(anchor_sizes=(0, 1, 2, 3, 4))
    with pytest.raises(UsageError, match="with images and targets"):
        network().train()(torch.rand(1, 3, 64, 64))
