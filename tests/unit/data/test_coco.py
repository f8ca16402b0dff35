"""COCO's layout: a generated copy, two real images, and every way to be wrong."""

import importlib.util
import json
import os
from pathlib import Path

import coco_layout as layout
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from compactmtl.data import DATASETS
from compactmtl.data.augment import mirrored
from compactmtl.data.coco_masks import decode_mask
from compactmtl.errors import (
    CorruptFileError,
    DataError,
    MissingExtraError,
    MissingFileError,
    UsageError,
)
from compactmtl.multitask.instances import boxes_of
from compactmtl.multitask.segments import CROWD, VOID, class_of

NAMES = {"things": layout.THINGS, "stuff": layout.STUFF}
has_coco = importlib.util.find_spec("faster_coco_eval") is not None
REAL = Path(os.environ.get("COMPACTMTL_DATA", "/nowhere")) / "fixtures" / "coco_tiny"


def opened(root, split="val", **args):
    return DATASETS["coco"](split, root=str(root), **NAMES, **args)


def check_forms(data, tasks):
    for index in range(len(data)):
        image, targets = data[index]
        assert list(targets) == list(tasks)
        for name, task in tasks.items():
            task.check_target(targets[name], task.missing(*image.shape[1:]), name)


def test_a_generated_copy_is_read_as_it_was_drawn(tmp_path):
    layout.write(tmp_path)
    data = opened(tmp_path)
    check_forms(data, DATASETS["coco"].declared_tasks(**NAMES))
    image, targets = data[0]
    assert image.shape == (3, 20, 30)
    drawn = [mask for of, _, _, mask in layout.masks() if of == 11]
    found = targets["instances"]
    assert np.array_equal(found["masks"].numpy(), np.stack(drawn))
    assert torch.equal(found["boxes"], boxes_of(found["masks"]))
    assert found["labels"].tolist() == [0, 1, 0]
    assert found["crowd"].tolist() == [False, False, True]

    panoptic, semantic = targets["panoptic"], targets["semantic"]
    assert (panoptic[0] == VOID).all()
    assert (semantic[0] == -1).all()
    crowd = torch.from_numpy(drawn[2])
    assert (panoptic[crowd] == CROWD - 0).all()
    assert (semantic[crowd] == 0).all()
    for place, kind in ((0, 0), (1, 1)):
        inside = torch.from_numpy(drawn[place])
        inside[0] = False
        assert len(panoptic[inside].unique()) == 1
        assert (class_of(panoptic[inside]) == kind).all()
        assert (semantic[inside] == 0).all()
    assert semantic[1, 0] == 2  # wall
    assert semantic[19, 0] == 1  # table
    assert class_of(panoptic[19, 0]) == 2


def test_things_of_one_class_stay_apart(tmp_path):
    _, panoptic = layout.documents()
    for segment in panoptic["annotations"][0]["segments_info"]:
        segment["category_id"] = layout.IDS["cup"]
        segment["iscrowd"] = 0
    layout.write(tmp_path, panoptic=panoptic)
    ids = opened(tmp_path)[0][1]["panoptic"].unique()
    assert len(ids[ids >= 0]) == len(layout.segments(11)) == 5


def test_images_are_scaled_into_one_size_with_a_margin_that_does_not_count(tmp_path):
    layout.write(tmp_path)
    data = opened(tmp_path, height=20, width=60)
    check_forms(data, DATASETS["coco"].declared_tasks(**NAMES))
    image, targets = data[1]  # 16 x 24 becomes 20 x 30
    assert image.shape == (3, 20, 60)
    assert not image[:, :, 30:].any()
    assert (targets["panoptic"][:, 30:] == VOID).all()
    assert (targets["semantic"][:, 30:] == -1).all()
    assert targets["instances"]["boxes"].tolist() == [[1.25, 1.25, 6.25, 15.0]]
    # A mask follows its box to half a pixel.
    own = boxes_of(targets["instances"]["masks"])
    torch.testing.assert_close(own, targets["instances"]["boxes"], rtol=0, atol=0.75)
    small = opened(tmp_path, height=1, width=1)[0][1]["instances"]
    assert small["labels"].tolist() == [1]  # what keeps no pixel is left out


def test_training_images_are_mirrored_and_scaled_together_with_their_targets(tmp_path):
    base = layout.write(tmp_path)
    for path in [*base.rglob("*val2017*")]:
        path.rename(path.with_name(path.name.replace("val2017", "train2017")))
    tasks = DATASETS["coco"].declared_tasks(**NAMES)
    plain = opened(tmp_path, "train", height=20, width=60)
    turned = opened(tmp_path, "train", height=20, width=60, augment=True)
    torch.manual_seed(0)
    seen = []
    for _ in range(12):
        image, targets = turned[1]
        things = targets["instances"]
        check_forms([(image, targets)], tasks)
        own = boxes_of(things["masks"])
        torch.testing.assert_close(own, things["boxes"], rtol=0, atol=0.76)
        seen.append((bool(image[:, :, 0].any()), round(float(own[0, 2] - own[0, 0]))))
    assert {left for left, _ in seen} == {True, False}
    assert len({width for _, width in seen}) > 1
    image, targets = plain[1]
    again = mirrored(*mirrored(image, targets))
    assert torch.equal(again[0], image)
    assert torch.equal(again[1]["instances"]["boxes"], targets["instances"]["boxes"])
    assert opened(tmp_path, "train", augment=True)[0][0].shape == (3, 20, 30)  # its own size


def test_an_image_without_things_or_without_a_map_is_kept(tmp_path):
    instances, panoptic = layout.documents()
    instances["annotations"] = instances["annotations"][:3]
    panoptic["annotations"] = panoptic["annotations"][:1]
    layout.write(tmp_path, instances, panoptic)
    _, targets = opened(tmp_path)[1]
    assert list(targets) == ["instances"]
    assert targets["instances"]["masks"].shape == (0, 16, 24)
    assert bool(targets["instances"]["labelled"])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 10_000), st.floats(0, 1))
def test_run_lengths_come_back_as_the_mask_they_were_made_of(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    counts = layout.runs(mask)
    for written in (counts, layout.packed(counts)):
        got = decode_mask({"size": [height, width], "counts": written}, height, width, "x")
        assert np.array_equal(got, mask)
    if has_coco:
        from faster_coco_eval.core import mask as tools

        encoded = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
        text = encoded["counts"]
        assert layout.packed(counts) == (text.decode() if isinstance(text, bytes) else text)


@pytest.mark.skipif(not has_coco, reason="the extra `coco` is not installed")
def test_polygons_are_joined():
    one, two = [2, 2, 8, 2, 8, 6, 2, 6], [12, 1, 18, 1, 18.0, 9.0, 12, 9]
    got = decode_mask([one, two], 10, 20, "x")
    want = layout.box_mask((10, 20), 2, 2, 8, 6) | layout.box_mask((10, 20), 12, 1, 18, 9)
    assert np.array_equal(got, want)


def test_polygons_need_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError):
        decode_mask([[1, 1, 5, 1, 5, 5]], 10, 20, "x")


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ("text", "neither polygons nor run lengths"),
        ({"size": [4, 4]}, "neither polygons nor run lengths"),
        ({"size": [4, 5], "counts": [20]}, r"of an image of \[4, 5\], expected \[4, 4\]"),
        ({"size": [4, 4], "counts": [15]}, "do not add up to the 16 pixels"),
        ({"size": [4, 4], "counts": [20, -4]}, "do not add up"),
        ({"size": [4, 4], "counts": [1 << 80]}, "do not add up"),
        ({"size": [4, 4], "counts": []}, "do not add up"),
        ({"size": [4, 4], "counts": ["a"]}, "do not add up"),
        ({"size": [4, 4], "counts": "!"}, "'!' in packed run lengths"),
        ({"size": [4, 4], "counts": "P"}, "end in the middle of a number"),
        ([], "holds no polygon"),
        ([[1, 2, 3, 4]], "not a list of x and y of 3 points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "not a list of x and y"),
        ([[1, 2, 3, 4, 5, float("nan")]], "not a list of x and y"),
        ([{"size": [4, 4], "counts": [16]}], "not a list of x and y"),  # runs among polygons
    ],
)
def test_a_mask_of_another_form_is_refused(segmentation, message):
    with pytest.raises(DataError, match=f"^here: .*{message}"):
        decode_mask(segmentation, 4, 4, "here")


def edit(which, change):
    """Return documents after ``change(document)`` of instances (0) or panoptic (1)."""
    documents = layout.documents()
    change(documents[which])
    return documents


@pytest.mark.parametrize(
    ("which", "change", "message"),
    [
        (0, lambda d: d["annotations"][0].update(image_id=99), "annotation 500 .* is of image 99"),
        (0, lambda d: d["annotations"][0].update(category_id=8), "is of category 8, which is not"),
        (0, lambda d: d["annotations"][1].update(bbox=[1, 2, 3, 0]), "annotation 501 .* an area"),
        (0, lambda d: d["categories"][0].update(name="cups"), "`cups`, .*did you mean `cup`"),
        (0, lambda d: d["categories"].pop(), "has no category `fork`"),
        (0, lambda d: d["categories"][1].update(id=7), "two categories with the id 7"),
        (0, lambda d: d["images"][1].update(id=11), "two images with the id 11"),
        (0, lambda d: d["images"][1].update(file_name="../x.jpg"), "expected a name without"),
        (0, lambda d: d["images"].clear(), "lists no image"),
        (1, lambda d: d["annotations"][1].update(image_id=4), "of image 4, which is not listed"),
        (
            1,
            lambda d: d["annotations"][0]["segments_info"][0].update(category_id=3),
            "segment 70000 in .* is of category 3",
        ),
    ],
)
def test_annotations_that_contradict_each_other_are_refused(tmp_path, which, change, message):
    layout.write(tmp_path, *edit(which, change))
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path)
    assert "\n" not in caught.value.message


def test_boxes_without_an_area_can_be_left_out(tmp_path):
    change = edit(0, lambda d: d["annotations"][1].update(bbox=[1, 2, 3, 0]))
    layout.write(tmp_path, *change)
    assert len(opened(tmp_path, skip_degenerate=True)[0][1]["instances"]["labels"]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON file"),
        ("[]", "holds a list"),
        ("{}", "no key 'images'"),
        ('{"images": 3}', "not of COCO's form"),
        ('{"images": [{"id": 1, "file_name": "a.jpg", "height": "x", "width": 1}]}', "not of COCO"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, message):
    base = layout.write(tmp_path)
    (base / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(CorruptFileError, match=message):
        opened(tmp_path)


def test_an_id_in_the_map_that_nobody_listed_is_refused(tmp_path):
    _, panoptic = layout.documents()
    panoptic["annotations"][0]["segments_info"].pop()
    layout.write(tmp_path, panoptic=panoptic)
    with pytest.raises(DataError, match="has a segment 6, which its annotation does not list"):
        opened(tmp_path)[0]


@pytest.mark.parametrize("folder", ["val2017", "annotations/panoptic_val2017"])
def test_pictures_that_do_not_match_are_refused(tmp_path, folder):
    base = layout.write(tmp_path)
    data = opened(tmp_path)
    file = next(path for path in (base / folder).iterdir() if path.stem.endswith("11"))
    Image.new("RGB", (31, 20)).save(file)
    with pytest.raises(DataError, match=r"is \(20, 31\) .*annotation says \(20, 30\)"):
        data[0]
    file.write_bytes(b"")
    with pytest.raises(DataError, match="is no picture"):
        data[0]
    file.unlink()
    with pytest.raises(MissingFileError, match="no such file"):
        data[0]


def test_missing_folders_and_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r"no such folder: .*coco"):
        opened(tmp_path)
    base = layout.write(tmp_path)
    with pytest.raises(MissingFileError, match=r"no such folder: .*train2017"):
        opened(tmp_path, "train")
    with pytest.raises(UsageError, match="no split 'dev'"):
        opened(tmp_path, "dev")
    assert len(opened(tmp_path, "test")) == len(opened(tmp_path, "val"))
    with pytest.raises(UsageError, match="give both"):
        opened(tmp_path, height=4)
    (base / "annotations" / "panoptic_val2017.json").unlink()
    with pytest.raises(MissingFileError, match=r"panoptic_val2017\.json"):
        opened(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="COMPACTMTL_DATA does not name the fixtures")
def test_two_real_images():
    data = DATASETS["coco"]("val", root=str(REAL.parent), folder=REAL.name)
    check_forms(data, DATASETS["coco"].declared_tasks())
    stated = json.loads((REAL / "annotations" / "instances_val2017.json").read_text())
    panoptic = json.loads((REAL / "annotations" / "panoptic_val2017.json").read_text())
    sizes = []
    for index, image in enumerate(stated["images"]):
        _, targets = data[index]
        things = [a for a in stated["annotations"] if a["image_id"] == image["id"]]
        found = targets["instances"]
        assert found["masks"].flatten(1).sum(1).tolist() == [a["area"] for a in things]
        assert found["crowd"].tolist() == [bool(a["iscrowd"]) for a in things]
        assert torch.equal(boxes_of(found["masks"]), found["boxes"])
        (entry,) = (a for a in panoptic["annotations"] if a["image_id"] == image["id"])
        segments = entry["segments_info"]
        counted = targets["panoptic"].unique(return_counts=True)[1].tolist()
        void = int((targets["panoptic"] == VOID).sum())
        assert sorted(counted) == sorted([*(s["area"] for s in segments), void])
        stuff = sum(s["area"] for s in segments if s["category_id"] > 90)
        assert int((targets["semantic"] > 0).sum()) == stuff
        sizes.append(len(segments))
    assert sizes == [18, 32]
