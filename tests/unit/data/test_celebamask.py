"""CelebAMask-HQ in its original folders."""

import numpy as np
import pytest
import torch
from celebamask_layout import NAMES, ORIGINALS, SIZE, attribute, boxes, write_celebamask
from PIL import Image

from compactmtl.data import DATASETS
from compactmtl.data.batch import collate
from compactmtl.data.celebamask import CelebAMaskHq
from compactmtl.errors import CorruptFileError, DataError, MissingFileError, UsageError

SPLITS = ("train", "val", "test")
OWN = {"size": (SIZE, SIZE)}


@pytest.fixture
def root(tmp_path):
    return write_celebamask(tmp_path)


def images_of(data) -> list[int]:
    """Return which images a split has, by their grey."""
    return [round((float(data[i][0].mean()) * 255 - 20) / 20) for i in range(len(data))]


def test_the_official_split_is_celebas(root):
    found = {split: images_of(CelebAMaskHq(split, root)) for split in SPLITS}
    assert found == {"train": [0, 1, 6, 7], "val": [2, 3], "test": [4, 5]}


def test_a_seeded_split_uses_every_image_once_and_depends_on_the_seed(root):
    shares = {"partition": "seeded", "shares": (0.5, 0.25, 0.25)}

    def split(seed):
        return {s: images_of(CelebAMaskHq(s, root, seed=seed, **shares)) for s in SPLITS}

    found = split(0)
    assert sorted(image for part in found.values() for image in part) == list(range(len(ORIGINALS)))
    assert [len(found[s]) for s in SPLITS] == [4, 2, 2]
    assert split(0) == found
    assert any(split(seed) != found for seed in (1, 2, 3))


def expected_classes(merge_face: bool) -> np.ndarray:
    """Paint pixel by pixel: of the parts that cover one, the last in order counts."""
    classes = {"skin": 2, "hair": 1}
    classes |= dict.fromkeys(("nose", "u_lip"), 2) if merge_face else {}
    result = np.zeros((SIZE, SIZE), int)
    for v in range(SIZE):
        for u in range(SIZE):
            for part, (rows, columns) in boxes().items():
                if rows.start <= v < rows.stop and columns.start <= u < columns.stop:
                    result[v, u] = classes.get(part, 0)
    return result


@pytest.mark.parametrize("merge_face", [False, True])
def test_masks_are_painted_in_order(root, merge_face):
    _, targets = CelebAMaskHq("train", root, merge_face=merge_face, **OWN)[0]
    np.testing.assert_array_equal(targets["seg"], expected_classes(merge_face))
    assert targets["seg"].dtype == torch.int64


def test_attributes_are_those_of_the_image(root):
    data = CelebAMaskHq("test", root, attributes=("Smiling", "Male", "Attribute_5"))
    for place, image in enumerate((4, 5)):
        targets = data[place][1]
        for name in ("Smiling", "Male", "Attribute_5"):
            assert int(targets[name.lower()]) == (attribute(image, name) == 1)
    tasks = DATASETS["celebamask_hq"].declared_tasks()
    assert {n: t.kind for n, t in tasks.items()} == {
        "seg": "segmentation",
        "male": "classification",
        "smiling": "classification",
    }
    assert tasks["male"].class_names() == ("not male", "male")


def test_an_image_without_masks_is_not_labelled_for_them(tmp_path):
    root = write_celebamask(tmp_path, without=(4,))
    data = CelebAMaskHq("test", root, **OWN)
    assert set(data[0][1]) == {"male", "smiling"}
    tasks = DATASETS["celebamask_hq"].declared_tasks()
    _, targets = collate([data[0], data[1]], tasks)
    valid = tasks["seg"].valid(targets["seg"])
    assert not valid[0].any()
    assert valid[1].all()


def test_both_spellings_of_the_folder_are_read_and_none_is_needed_without_masks(tmp_path):
    root = write_celebamask(tmp_path, masks="CelebAMaskHQ-mask-anno")
    assert "seg" in CelebAMaskHq("val", root)[0][1]
    (root / "CelebAMask-HQ/CelebAMaskHQ-mask-anno").rename(tmp_path / "away")
    with pytest.raises(MissingFileError, match="mask-anno"):
        CelebAMaskHq("val", root)
    image, targets = CelebAMaskHq("val", root, masks=False)[0]
    assert image.shape == (3, 256, 256)
    assert set(targets) == {"male", "smiling"}


def test_what_is_wrong_is_refused_at_once(root):
    folder = root / "CelebAMask-HQ"
    with pytest.raises(DataError, match="did you mean `Smiling`"):
        CelebAMaskHq("train", root, attributes=("Smile",))
    with pytest.raises(UsageError, match="named twice"):
        CelebAMaskHq("train", root, attributes=("Male", "Male"))
    with pytest.raises(UsageError, match="add up to 1"):
        CelebAMaskHq("train", root, shares=(0.6, 0.2, 0.1))
    with pytest.raises(UsageError, match="no task is left"):
        CelebAMaskHq("train", root, attributes=(), masks=False)
    mask = folder / "CelebAMask-HQ-mask-anno/0/00000_hair.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(mask)
    with pytest.raises(CorruptFileError, match="other masks"):
        CelebAMaskHq("train", root)
    anno = folder / "CelebAMask-HQ-attribute-anno.txt"
    text = anno.read_text()
    anno.write_text(text.replace("3.jpg  1", "3.jpg  7").replace("3.jpg  -1", "3.jpg  7"))
    with pytest.raises(CorruptFileError, match="line 6"):
        CelebAMaskHq("train", root)
    anno.write_text(text)
    mapping = folder / "CelebA-HQ-to-CelebA-mapping.txt"
    mapping.write_text("\n".join(mapping.read_text().splitlines()[:-1]))
    with pytest.raises(DataError, match="no line for image 7"):
        CelebAMaskHq("train", root)
    mapping.unlink()
    with pytest.raises(MissingFileError, match="mapping"):
        CelebAMaskHq("train", root)
    assert len(CelebAMaskHq("test", root, partition="seeded")) == 1  # needs no mapping
    (folder / "CelebA-HQ-img/6.jpg").unlink()
    with pytest.raises(MissingFileError, match=r"6\.jpg"):
        CelebAMaskHq("train", root, partition="seeded", shares=(1.0, 0.0, 0.0))


def test_the_fixture_has_the_originals_40_names():
    assert len(set(NAMES)) == 40
