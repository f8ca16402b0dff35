import numpy as np
import pytest
import torch
from nyuv2_layout import write_nyuv2

from compactmtl.data import DATASETS
from compactmtl.data.nyuv2 import NyuV2
from compactmtl.errors import CorruptFileError, DataError, MissingFileError, UsageError


@pytest.fixture
def root(tmp_path):
    return write_nyuv2(tmp_path, num_train=10, num_val=3)


def test_splits_are_the_folders_and_validation_comes_from_training(root):
    sizes = {split: len(NyuV2(split, root, val_share=0.2)) for split in ("train", "val", "test")}
    assert sizes == {"train": 8, "val": 2, "test": 3}
    train, val = NyuV2("train", root, val_share=0.2), NyuV2("val", root, val_share=0.2)
    images = [data[i][0] for data in (train, val) for i in range(len(data))]
    assert len({image.sum().item() for image in images}) == 10  # none twice, none lost
    published = NyuV2("val", root, val_share=0)
    assert len(published) == 3
    assert torch.equal(published[1][0], NyuV2("test", root)[1][0])
    assert len(NyuV2("train", root, val_share=0)) == 10


def test_a_sample_is_what_the_files_hold(root):
    image, targets = NyuV2("test", root)[2]
    stored = {k: np.load(root / "nyuv2/val" / k / "2.npy") for k in ("image", "label", "depth")}
    assert image.dtype == torch.float32
    np.testing.assert_allclose(image.permute(1, 2, 0), stored["image"], atol=1e-7)
    np.testing.assert_array_equal(targets["seg"], stored["label"])
    np.testing.assert_allclose(targets["depth"][0], stored["depth"][..., 0], atol=1e-6)
    tasks = DATASETS["nyuv2"].declared_tasks()
    assert tasks["seg"].num_channels == 13
    for name, task in tasks.items():
        valid = task.valid(targets[name][None])
        assert valid.any()
        assert not valid.all()
    assert not tasks["depth"].valid(targets["depth"][None])[..., 0].any()


def test_augmentation_keeps_geometry(root, monkeypatch):
    plain, data = NyuV2("train", root, val_share=0), NyuV2("train", root, val_share=0, augment=True)
    monkeypatch.setattr("compactmtl.data.scene_augment.SCALES", (1.0,))
    image, targets = plain[3]
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        changed, others = data[3]
        mirrored = bool(torch.equal(changed, image.flip(-1)))
        assert mirrored or torch.equal(changed, image)
        seen.add(mirrored)
        sign = torch.tensor([-1.0 if mirrored else 1.0, 1.0, 1.0])[:, None, None]
        expected = targets["normals"].flip(-1) if mirrored else targets["normals"]
        torch.testing.assert_close(others["normals"], expected * sign)
    assert seen == {True, False}
    monkeypatch.setattr("compactmtl.data.scene_augment.SCALES", (1.5,))
    torch.manual_seed(0)
    _, others = data[3]
    assert others["depth"].max() <= targets["depth"].max() / 1.5 + 1e-6  # a zoom brings it nearer
    assert others["seg"].shape == targets["seg"].shape
    assert set(others["seg"].unique().tolist()) <= set(range(-1, 13))


def test_augmentation_repeats_with_the_seed(root):
    data = NyuV2("train", root, augment=True)
    torch.manual_seed(5)
    first = data[0][0]
    torch.manual_seed(5)
    assert torch.equal(data[0][0], first)


@pytest.mark.parametrize(
    ("kind", "array", "error", "message"),
    [
        ("label", np.zeros((24, 31)), DataError, "sizes"),
        ("label", np.full((24, 32), 13.0), DataError, "label 13"),
        ("depth", np.zeros((24, 32)), CorruptFileError, r"expected \(H, W, 1\)"),
        ("image", np.full((24, 32, 3), 200.0), CorruptFileError, "expected 0 to 1"),
        ("normal", np.array([{}], dtype=object), CorruptFileError, "no array of numbers"),
    ],
)
def test_files_of_another_form_are_refused_at_once(root, kind, array, error, message):
    np.save(root / "nyuv2/val" / kind / "0.npy", array, allow_pickle=True)
    with pytest.raises(error, match=message):
        NyuV2("test", root)


def test_what_is_missing_is_named(root, tmp_path):
    (root / "nyuv2/val/depth/0.npy").unlink()
    with pytest.raises(MissingFileError, match=r"depth.0\.npy"):
        NyuV2("test", root)
    (root / "nyuv2/train/label/8.npy").unlink()
    with pytest.raises(MissingFileError, match=r"label.8\.npy"):  # not in the first sample
        NyuV2("train", root)
    with pytest.raises(MissingFileError, match="image"):
        NyuV2("train", root, folder="elsewhere")
    with pytest.raises(UsageError, match="val_share"):
        NyuV2("train", root, val_share=0.7)
