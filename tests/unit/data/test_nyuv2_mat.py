"""NYUv2 from files in exactly the official layout."""

import pickle
import sys

import numpy as np
import pytest
import torch
from nyuv2_mat_layout import cell, table_13, table_40, write_nyuv2_mat

from compactmtl.data import DATASETS
from compactmtl.data.layouts import recognise
from compactmtl.data.nyuv2_mat import NyuV2Mat
from compactmtl.errors import (
    CorruptFileError,
    DataError,
    MissingExtraError,
    MissingFileError,
    UsageError,
)

h5py = pytest.importorskip("h5py", reason='pip install "compactmtl[nyuv2]"')
io = pytest.importorskip("scipy.io", reason='pip install "compactmtl[nyuv2]"')

FULL = (48, 64)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_nyuv2_mat(tmp_path_factory.mktemp("data"))


@pytest.fixture
def own(tmp_path):
    return write_nyuv2_mat(tmp_path)


def test_official_split_is_kept_and_validation_comes_from_training(root):
    sizes = {s: len(NyuV2Mat(s, root, val_share=0.5)) for s in ("train", "val", "test")}
    assert sizes == {"train": 3, "val": 3, "test": 2}
    assert len(NyuV2Mat("train", root, val_share=0)) == 6
    assert len(NyuV2Mat("val", root, val_share=0)) == 2
    only = {"tasks": ("depth",), "size": FULL}
    with h5py.File(root / "nyuv2/nyu_depth_v2_labeled.mat") as file:
        for place, number in enumerate((3, 7)):  # 4 and 8, counted from 1, are the test images
            _, targets = NyuV2Mat("test", root, **only)[place]
            np.testing.assert_array_equal(targets["depth"][0], file["depths"][number].T)


@pytest.mark.parametrize("num_classes", [13, 40])
def test_labels_are_mapped_by_the_published_tables(root, num_classes):
    args = {"num_classes": num_classes, "tasks": ("seg",), "size": FULL}
    data = NyuV2Mat("test", root, **args)
    with h5py.File(root / "nyuv2/nyu_depth_v2_labeled.mat") as file:
        raw = file["labels"][3].T
    expected = np.full(FULL, -1)
    for v in range(FULL[0]):
        for u in range(FULL[1]):
            if raw[v, u]:
                forty = table_40()[raw[v, u] - 1]
                expected[v, u] = (forty if num_classes == 40 else table_13()[forty - 1]) - 1
    seg = data[0][1]["seg"]
    np.testing.assert_array_equal(seg, expected)
    assert seg.dtype == torch.int64
    assert (seg == -1).any()
    task = DATASETS["nyuv2_mat"].declared_tasks(**args)["seg"]
    assert task.num_channels == num_classes
    task.check_labels(seg)


def test_image_depth_and_normals_have_the_size_asked_for(root):
    image, targets = NyuV2Mat("train", root, size=(24, 36))[0]
    assert image.shape == (3, 24, 36)
    assert 0 <= image.min() < image.max() <= 1
    assert targets["depth"].shape == (1, 24, 36)
    for name, task in DATASETS["nyuv2_mat"].declared_tasks().items():
        assert task.missing(24, 36).shape == targets[name].shape
    same, _ = NyuV2Mat("train", root, size=FULL, val_share=0)[0]
    with h5py.File(root / "nyuv2/nyu_depth_v2_labeled.mat") as file:
        stored = file["images"][0].transpose(0, 2, 1)
    np.testing.assert_allclose(same, stored / 255, atol=1e-6)


def test_normals_are_those_of_the_depth(own):
    with h5py.File(own / "nyuv2/nyu_depth_v2_labeled.mat", "r+") as file:
        file["depths"][0] = 2.0
    _, targets = NyuV2Mat("train", own, val_share=0)[0]
    expected = torch.tensor([0.0, 0.0, -1.0])[:, None, None].expand(3, 288, 384)
    torch.testing.assert_close(targets["normals"], expected)


def test_the_data_set_goes_to_loader_workers_and_opens_its_file_there(root):
    data = NyuV2Mat("test", root, tasks=("depth",))
    first = data[0][1]["depth"]
    again = pickle.loads(pickle.dumps(data))
    torch.testing.assert_close(again[0][1]["depth"], first)


@pytest.mark.parametrize(
    "gone", ["nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat", "class13Mapping.mat"]
)
def test_a_missing_file_is_named(own, gone):
    (own / "nyuv2" / gone).unlink()
    with pytest.raises(MissingFileError, match=gone.replace(".", r"\.")):
        NyuV2Mat("train", own)
    (found,) = recognise(own / "nyuv2", "nyuv2_mat")
    assert found.missing == (gone,)


def test_40_classes_need_no_mapping_to_13(own):
    (own / "nyuv2/class13Mapping.mat").unlink()
    assert len(NyuV2Mat("test", own, num_classes=40)) == 2


def test_a_mapping_of_another_order_or_form_is_refused(own):
    path = own / "nyuv2/classMapping40.mat"
    names = list(cell([f"c{i}" for i in range(40)])[0])
    io.savemat(path, {"mapClass": table_40()[None, :], "className": cell(names)})
    with pytest.raises(DataError, match="class 1 is `c0`, expected `wall`"):
        NyuV2Mat("test", own, num_classes=40)
    io.savemat(path, {"mapClass": table_40()[None, :] + 5})
    with pytest.raises(DataError, match="maps to classes 6 to 45"):
        NyuV2Mat("test", own, num_classes=40)
    io.savemat(path, {"other": np.zeros(3)})
    with pytest.raises(CorruptFileError, match="it holds: other"):
        NyuV2Mat("test", own, num_classes=40)
    write = {"classMapping13": {"labels13": np.arange(7)[None, :]}}
    io.savemat(own / "nyuv2/class13Mapping.mat", write)
    io.savemat(path, {"mapClass": table_40()[None, :]})
    with pytest.raises(CorruptFileError, match="one number for each of the 40"):
        NyuV2Mat("test", own)


def test_damaged_files_are_refused(own):
    path = own / "nyuv2/splits.mat"
    path.write_bytes(b"no MATLAB file at all" * 20)
    with pytest.raises(CorruptFileError, match="damaged"):
        NyuV2Mat("test", own)
    io.savemat(path, {"trainNdxs": np.array([[1], [2]]), "testNdxs": np.array([[2]])})
    with pytest.raises(DataError, match="image 2 is in both parts"):
        NyuV2Mat("test", own)
    io.savemat(path, {"trainNdxs": np.array([[1], [200]]), "testNdxs": np.array([[2]])})
    with pytest.raises(DataError, match="does not fit the 8 images"):
        NyuV2Mat("test", own)
    labelled = own / "nyuv2/nyu_depth_v2_labeled.mat"
    content = labelled.read_bytes()
    labelled.write_bytes(content[: len(content) // 3])
    with pytest.raises(CorruptFileError, match="damaged"):
        NyuV2Mat("test", own)


def test_arrays_that_do_not_belong_together_are_refused(own):
    with h5py.File(own / "nyuv2/nyu_depth_v2_labeled.mat", "r+") as file:
        del file["depths"]
        file["depths"] = np.ones((8, 64, 40), np.float32)
    with pytest.raises(CorruptFileError, match="`depths` has shape"):
        NyuV2Mat("test", own)


def test_tasks_are_chosen_once_each(root):
    assert set(NyuV2Mat("test", root, tasks=("seg",))[0][1]) == {"seg"}
    assert set(DATASETS["nyuv2_mat"].declared_tasks(tasks=("seg",))) == {"seg"}
    for tasks in ((), ("seg", "seg"), ("segm",)):
        with pytest.raises(UsageError, match="nyuv2_mat"):
            NyuV2Mat("test", root, tasks=tasks)


@pytest.mark.parametrize("module", ["h5py", "scipy.io"])
def test_a_missing_package_is_named_with_its_extra(root, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        NyuV2Mat("test", root)
    assert module.partition(".")[0] in caught.value.message
    assert "compactmtl[nyuv2]" in caught.value.hint
