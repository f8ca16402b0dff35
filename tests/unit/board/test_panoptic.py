"""Numpy between exported parts: against torchvision, operation by operation and as a whole."""

import numpy as np
import pytest
import squares
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import batched_nms, nms

from compactmtl.board.errors import AskedError, DamagedError
from compactmtl.board.onnx_session import OnnxSession
from compactmtl.board.panoptic import maps
from compactmtl.board.panoptic.boxes import clip, decode, grid_anchors, kept_of
from compactmtl.board.panoptic.maps import extents, inside, pasted
from compactmtl.board.panoptic.pipeline import PanopticPipeline, Processing
from compactmtl.board.panoptic.roi_align import pooled
from compactmtl.export.panoptic_operators import roi_align_model, suppression_model
from compactmtl.models import MODELS
from compactmtl.models.panoptic_fpn_detect import ASPECTS, _pool

DRAW = np.random.default_rng(0)


def boxes(num, size=90.0):
    corner = DRAW.random((num, 2)) * size
    return np.concatenate([corner, corner + DRAW.random((num, 2)) * size * 0.6 + 0.5], axis=1)


def test_anchors_are_those_of_torchvision():
    levels = [torch.zeros(1, 1, 6, 8), torch.zeros(1, 1, 3, 4)]
    make = AnchorGenerator(((16,), (30,)), (ASPECTS, ASPECTS))
    want = make(ImageList(torch.zeros(1, 3, 96, 128), [(90, 120)]), levels)[0].numpy()
    got = [
        grid_anchors(*level.shape[2:], (96 // level.shape[2], 128 // level.shape[3]), size, ASPECTS)
        for level, size in zip(levels, (16, 30), strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(got), want)


def test_boxes_are_decoded_as_by_torchvision():
    start, deltas = boxes(40), DRAW.normal(size=(40, 3, 4)) * 2
    deltas[0, 0, 2] = 50.0  # grows by no more than the limit
    weights = (10.0, 10.0, 5.0, 5.0)
    want = BoxCoder(weights).decode(torch.from_numpy(deltas.reshape(40, -1)), [torch.tensor(start)])
    np.testing.assert_allclose(decode(deltas, start, weights), want.numpy(), rtol=1e-12)


def test_overlapping_boxes_go_as_with_torchvision():
    found, scores = (x.astype(np.float32) for x in (boxes(300), DRAW.random(300)))
    scores[40:60] = scores[40]  # equal scores: the first comes first
    kinds = DRAW.integers(0, 3, 300)
    suppress = OnnxSession(suppression_model(), threads=1, name="suppression")
    want = batched_nms(*map(torch.from_numpy, (found, scores, kinds)), 0.5).tolist()
    assert kept_of(found, scores, kinds, 0.5, suppress).tolist() == want
    assert len(want) < 300
    other = kept_of(found, scores, kinds, 0.3, suppress)
    assert other.tolist() != want  # the oracle sees a difference
    assert kept_of(found[:0], scores[:0], kinds[:0], 0.5, suppress).tolist() == []


@pytest.mark.parametrize("side", [7, 14])
def test_features_of_boxes_are_those_of_torchvision(side):
    pyramid = [DRAW.normal(size=(5, 96 >> level, 128 >> level)) for level in range(2, 6)]
    found = np.concatenate([boxes(30), boxes(5) - 30, [[0, 0, 128, 96], [120, 90, 150, 130]]])
    pool = _pool(side, 56)
    levels = {f"p{2 + i}": torch.from_numpy(each)[None] for i, each in enumerate(pyramid)}
    want = pool(levels, [torch.from_numpy(found)], [(96, 128)]).numpy()
    got = pooled(pyramid, found, side, 56, align(side))
    np.testing.assert_allclose(got, want, atol=1e-12)
    moved = pooled(pyramid, found + 0.01, side, 56, align(side))
    assert np.abs(moved - want).max() > 1e-4  # the oracle sees a planted error


def test_masks_are_pasted_as_by_torchvision(monkeypatch):
    found = clip(np.concatenate([boxes(20, 60), [[3.0, 3.0, 3.2, 3.2], [50, 40, 140, 99]]]), 70, 90)
    masks = DRAW.random((len(found), 28, 28))
    want = paste_masks_in_image(torch.tensor(masks)[:, None], torch.tensor(found), (70, 90))
    want = want[:, 0].numpy() > 0.5
    np.testing.assert_array_equal(pasted(masks, found, 70, 90), want)
    assert (pasted(masks, found + 0.6, 70, 90) != want).any()  # the oracle sees a planted error
    monkeypatch.setattr(maps, "BLOCK", 500)
    np.testing.assert_array_equal(pasted(masks, found, 70, 90), want)
    # Outside of their extents masks are empty.
    for mask, (x0, y0, x1, y1) in zip(want, inside(extents(found, 28), 70, 90), strict=True):
        assert mask[y0:y1, x0:x1].sum() == mask.sum()


def align(side):
    return OnnxSession(roi_align_model(side, dtype="float64"), threads=1, name="align")


def suppress(arrays):
    """Suppress in float64, which ONNX Runtime has not."""
    tensors = (torch.from_numpy(arrays[name]) for name in ("boxes", "scores"))
    return {"kept": nms(*tensors, float(arrays["threshold"][0])).numpy()}


def as_part(module, inputs, outputs):
    @torch.no_grad()
    def call(arrays):
        found = module(*(torch.from_numpy(arrays[name]) for name in inputs))
        if isinstance(found, dict):
            return {name: value.numpy() for name, value in found.items()}
        several = found if isinstance(found, tuple) else (found,)
        return {name: value.numpy() for name, value in zip(outputs, several, strict=True)}

    return call


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    tasks = {"instances": 2, "semantic": 3, "panoptic": 1}
    return MODELS["panoptic_fpn"](tasks, **squares.TINY).eval().double()


def pipeline(network, **changed):
    parts = {
        name: as_part(network.get_submodule(part.module), part.inputs, part.outputs)
        for name, part in network.static_parts.items()
    }
    parts |= {"box_align": align(7), "mask_align": align(14), "suppression": suppress}
    return PanopticPipeline(Processing.of({**network.processing(), **changed}), parts)


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (45, 70)])
def test_whole_images_give_what_the_network_gives(network, size):
    image = torch.rand(1, 3, *size, dtype=torch.float64)
    want = network(image)
    got = pipeline(network)(image.numpy())
    (things,) = want["instances"]
    assert len(things["scores"]) > 3
    np.testing.assert_array_equal(got["labels"], things["labels"].numpy())
    np.testing.assert_allclose(got["boxes"], things["boxes"].numpy(), atol=1e-9)
    np.testing.assert_allclose(got["scores"], things["scores"].numpy(), atol=1e-12)
    np.testing.assert_array_equal(got["masks"], things["masks"].numpy())
    np.testing.assert_array_equal(got["panoptic"], want["panoptic"].numpy())
    np.testing.assert_array_equal(got["semantic"], want["semantic"].numpy())
    other = pipeline(network, anchor_sizes=[8, 32, 64, 128, 256])(image.numpy())
    assert not np.array_equal(other["boxes"], got["boxes"])  # the oracle sees a planted error


def test_wrong_uses_are_refused(network):
    with pytest.raises(AskedError, match="takes one image"):
        pipeline(network)(np.zeros((2, 3, 64, 64)))
    with pytest.raises(DamagedError, match="no settings of Panoptic FPN: kind 'other'"):
        pipeline(network, kind="other")
    with pytest.raises(DamagedError, match="2 sizes of anchors"):
        pipeline(network, anchor_sizes=[1, 2])
