"""Samples in WebDataset's archives."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
import torch
from shards_layout import SIZE, TASKS, arrays, files, write_shard

from compactmtl.cli import app
from compactmtl.data import DATASETS
from compactmtl.data.batch import collate, loader
from compactmtl.data.shards import Shards
from compactmtl.errors import CorruptFileError, DataError, MissingFileError, RecipeError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPACTMTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "shards"


@pytest.fixture
def root(tmp_path):
    write_shard(tmp_path / "shards/train-000.tar", range(5))
    write_shard(tmp_path / "shards/train-001.tar", range(5, 9))
    write_shard(tmp_path / "shards/val/one.tar", range(20, 23))
    return tmp_path


def check_sample(data, place, index):
    image, targets = data[place]
    stored = arrays(index)
    np.testing.assert_allclose(image.permute(1, 2, 0), stored["png"] / 255, atol=1e-6)
    labels = stored["seg.png"].astype(int)
    np.testing.assert_array_equal(targets["seg"], np.where(labels == 255, -1, labels))
    np.testing.assert_array_equal(targets["depth"][0], stored["depth.npy"])
    np.testing.assert_array_equal(targets["normals"].permute(1, 2, 0), stored["normals.npy"])
    np.testing.assert_array_equal(targets["mask"][0], stored["mask.png"] > 0)
    np.testing.assert_array_equal(targets["flow"].permute(1, 2, 0), stored["flow.npy"])
    assert int(targets["kind"]) == index % 5


def test_every_sample_is_read_from_where_it_lies(root):
    data = Shards("train", root, tasks=TASKS)
    assert len(data) == 9
    for place in (0, 8, 4, 5, -1):  # in any order
        check_sample(data, place, place % 9)
    check_sample(Shards("val", root, tasks=TASKS), 1, 21)
    with pytest.raises(IndexError):
        data[9]
    assert set(data.declared_tasks(tasks=TASKS)) == set(TASKS)
    collate([data[0], data[7]], DATASETS["shards"].declared_tasks(tasks=TASKS))  # the right forms


def test_archives_that_webdataset_wrote_are_read(tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="pip install webdataset")
    (tmp_path / "shards").mkdir()
    with webdataset.TarWriter(str(tmp_path / "shards/train-0.tar")) as sink:
        for index in range(3):
            sink.write({"__key__": f"{index:04d}", **files(index)})
    data = Shards("train", tmp_path, tasks=TASKS)
    assert len(data) == 3
    check_sample(data, 2, 2)


def test_a_sample_that_lacks_a_file_is_not_labelled_for_it(tmp_path):
    write_shard(tmp_path / "shards/train-0.tar", range(2), without=("depth.npy", "cls"))
    write_shard(tmp_path / "shards/train-1.tar", range(2, 4))
    data = Shards("train", tmp_path, tasks=TASKS)
    assert set(data[1][1]) == {"seg", "normals", "mask", "flow"}
    assert set(data[2][1]) == set(TASKS)


def test_an_index_is_kept_and_made_anew_when_archives_change(root, cache):
    seen = []
    Shards("train", root, tasks=TASKS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    Shards("train", root, tasks=TASKS, progress=lambda *at: pytest.fail("read again"))
    assert len(list(cache.iterdir())) == 1
    write_shard(root / "shards/train-001.tar", range(5, 12))
    assert len(Shards("train", root, tasks=TASKS)) == 12
    (stored, *_) = cache.iterdir()
    with np.load(stored, allow_pickle=False) as arrays_of_index:
        assert set(arrays_of_index) == {"shard", "place"}


def test_the_loader_and_its_workers_read_the_same(root):
    data = pickle.loads(pickle.dumps(Shards("train", root, tasks=TASKS)))
    tasks = data.declared_tasks(tasks=TASKS)
    read = []
    for workers in (0, 2):
        generator = torch.Generator().manual_seed(0)
        batches = loader(
            data, tasks, batch_size=3, shuffle=False, generator=generator, num_workers=workers
        )
        read.append(torch.cat([images for images, _ in batches]))
    assert torch.equal(read[0], read[1])


def test_everything_can_be_brought_to_one_size(root):
    image, targets = Shards("train", root, tasks=TASKS, size=(6, 20))[0]
    tasks = Shards.declared_tasks(tasks=TASKS)
    assert image.shape == (3, 6, 20)
    assert all(targets[n].shape == task.missing(6, 20).shape for n, task in tasks.items())
    assert SIZE != (6, 20)


def test_what_is_wrong_is_refused_in_one_line(root, tmp_path):
    with pytest.raises(MissingFileError, match="no archive"):
        Shards("test", root, tasks=TASKS)
    with pytest.raises(RecipeError, match="task `seg` needs `kind` and `file`"):
        Shards("train", root, tasks={"seg": {"kind": "segmentation", "num_classes": 3}})
    write_shard(root / "shards/test-0.tar", range(3), mode="w:gz")
    with pytest.raises(CorruptFileError, match="compressed"):
        Shards("test", root, tasks=TASKS)
    whole = (root / "shards/train-000.tar").read_bytes()
    (root / "shards/test-0.tar").write_bytes(whole[:3000])
    with pytest.raises(CorruptFileError, match="cut off"):
        Shards("test", root, tasks=TASKS)
    write_shard(root / "shards/test-0.tar", range(2), without=("png",))
    with pytest.raises(DataError, match="has no image"):
        Shards("test", root, tasks=TASKS)
    write_shard(root / "shards/test-0.tar", [1, 2, 1])
    with pytest.raises(DataError, match="in two places"):
        Shards("test", root, tasks=TASKS)


def test_an_archive_that_shrinks_later_is_noticed(root):
    data = Shards("train", root, tasks=TASKS)
    path = root / "shards/train-001.tar"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CorruptFileError, match="shorter"):
        data[8]


def test_nothing_is_unpickled(root):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("code was run",))

    content = io.BytesIO()
    np.save(content, np.array([Evil()], dtype=object), allow_pickle=True)
    with tarfile.open(root / "shards/test-0.tar", "w") as archive:
        for end, part in (("png", files(0)["png"]), ("depth.npy", content.getvalue())):
            member = tarfile.TarInfo(f"a.{end}")
            member.size = len(part)
            archive.addfile(member, io.BytesIO(part))
    with pytest.raises(CorruptFileError, match=r"depth\.npy"):
        Shards("test", root, tasks={"depth": TASKS["depth"]})


def test_they_are_checked_by_the_verb(root, tmp_path, capsys):
    write_shard(root / "shards/test-0.tar", range(3))
    tasks = ", ".join(
        f"{name} = {{ " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in args.items()) + " }"
        for name, args in TASKS.items()
    )
    call = ["data", "check", str(root / "shards"), "--data", "shards"]
    call += ["--set", f"tasks={{ {tasks} }}", "--json", "--out", str(tmp_path / "a.png")]
    assert app.run(call) == 0
    (found,) = json.loads(capsys.readouterr().out)["data_sets"]
    assert [split["num_samples"] for split in found["splits"]] == [9, 3, 3]
