"""NYUv2 in the layout NYUD_MT."""

import numpy as np
import pytest
import torch
from nyud_layout import write_nyud
from PIL import Image

from compactmtl.data import DATASETS
from compactmtl.data.nyud import Nyud
from compactmtl.errors import CorruptFileError, DataError, MissingFileError, UsageError


@pytest.fixture
def root(tmp_path):
    return write_nyud(tmp_path)


def test_lists_are_the_splits(root):
    sizes = {split: len(Nyud(split, root, val_share=0.5)) for split in ("train", "val", "test")}
    assert sizes == {"train": 3, "val": 3, "test": 3}
    assert len(Nyud("train", root, val_share=0)) == 6
    lists = root / "NYUD_MT/gt_sets"
    (lists / "test.txt").write_text("0007\n")
    sizes = {split: len(Nyud(split, root)) for split in ("train", "val", "test")}
    assert sizes == {"train": 6, "val": 3, "test": 1}


def test_a_sample_is_what_the_files_hold(root):
    data = Nyud("test", root, size=(20, 26))
    image, targets = data[1]
    name = "0028"  # the second after six for training
    folder = root / "NYUD_MT"
    with Image.open(folder / "segmentation" / f"{name}.png") as stored:
        np.testing.assert_array_equal(targets["seg"], np.asarray(stored).astype(int) - 1)
    np.testing.assert_array_equal(targets["depth"][0], np.load(folder / f"depth/{name}.npy"))
    normals = np.load(folder / f"normals/{name}.npy").transpose(2, 0, 1)
    np.testing.assert_array_equal(targets["normals"], normals)
    assert image.dtype == torch.float32
    assert (targets["seg"] == -1).any()
    for name, task in DATASETS["nyud"].declared_tasks().items():
        assert task.missing(20, 26).shape == targets[name].shape
        assert task.missing(20, 26).dtype == targets[name].dtype
    assert DATASETS["nyud"].declared_tasks()["seg"].num_channels == 40


def test_the_default_size_is_the_papers_and_mixes_no_values(root):
    image, targets = Nyud("train", root)[0]
    assert image.shape == (3, 256, 256)
    stored = np.load(root / "NYUD_MT/depth/0010.npy")
    assert set(np.unique(targets["depth"])) <= set(np.unique(stored))


def test_a_task_that_is_not_asked_for_needs_no_files(root):
    for path in (root / "NYUD_MT/normals").iterdir():
        path.unlink()
    with pytest.raises(MissingFileError, match="normals"):
        Nyud("train", root)
    _, targets = Nyud("train", root, tasks=("seg", "depth"), augment=True)[0]
    assert set(targets) == {"seg", "depth"}
    with pytest.raises(UsageError, match="did you mean `normals`"):
        Nyud("train", root, tasks=("normal",))


def test_a_file_that_is_missing_deep_in_a_split_shows_at_once(root):
    (root / "NYUD_MT/depth/0022.npy").unlink()
    (root / "NYUD_MT/depth/0019.npy").unlink()
    with pytest.raises(MissingFileError, match=r"0019\.npy`, and 1 more; 6 are needed"):
        Nyud("train", root, val_share=0)
    assert len(Nyud("test", root)) == 3


def test_what_is_wrong_is_refused_at_once(root):
    folder = root / "NYUD_MT"
    Image.fromarray(np.full((20, 26), 41, np.uint8)).save(folder / "segmentation/0025.png")
    with pytest.raises(DataError, match=r"0025\.png` has label 41"):
        Nyud("test", root)
    (folder / "segmentation/0025.png").write_bytes(b"no picture")
    with pytest.raises(CorruptFileError, match=r"0025\.png` is damaged"):
        Nyud("test", root)
    np.save(folder / "depth/0025.npy", np.zeros((20, 26, 2)))
    with pytest.raises(CorruptFileError, match=r"expected \(H, W\) or \(H, W, 1\)"):
        Nyud("test", root, tasks=("depth",))
    np.save(folder / "depth/0025.npy", np.full((20, 26, 1), 2.0))
    assert float(Nyud("test", root, tasks=("depth",))[0][1]["depth"].max()) == 2
    (folder / "gt_sets/val.txt").write_text("0025\n0025\n")
    with pytest.raises(DataError, match="twice"):
        Nyud("test", root)
    (folder / "gt_sets/val.txt").write_text("../../secret\n")
    with pytest.raises(DataError, match="names a path"):
        Nyud("test", root)
    (folder / "gt_sets/val.txt").unlink()
    with pytest.raises(MissingFileError, match=r"val\.txt"):
        Nyud("test", root)
