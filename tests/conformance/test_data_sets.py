"""What every data set promises, on files in its own layout."""

import pickle

import pytest
import torch
from celebamask_layout import write_celebamask
from nyud_layout import write_nyud
from nyuv2_layout import write_nyuv2
from nyuv2_mat_layout import write_nyuv2_mat
from shards_layout import TASKS, write_shard
from torch.utils._pytree import tree_leaves

from compactmtl.data import DATASETS
from compactmtl.data.batch import collate
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.data.survey import survey
from compactmtl.errors import CompactMTLError


def write_shards(root):
    for number, split in enumerate(("train", "val", "test")):
        write_shard(root / "shards" / f"{split}-0.tar", range(9 * number, 9 * number + 3))


SMALL = {"size": (24, 32)}
CASES = {
    "rooms": (lambda root: None, {"num_images": 3, "height": 12, "width": 16}),
    "rooms_instances": (lambda root: None, {"num_images": 3, "height": 48, "width": 64}),
    "nyuv2": (write_nyuv2, {}),
    "nyuv2_mat": (write_nyuv2_mat, SMALL),
    "nyud": (write_nyud, SMALL),
    "celebamask_hq": (write_celebamask, SMALL),
    "shards": (write_shards, {"tasks": TASKS}),
}


@pytest.fixture(params=list(CASES))
def made(request, tmp_path, monkeypatch):
    """A data set's name, its arguments and its splits."""
    name = request.param
    if name == "nyuv2_mat":
        for module in ("h5py", "scipy"):
            pytest.importorskip(module, reason='pip install "compactmtl[nyuv2]"')
    monkeypatch.setenv("COMPACTMTL_CACHE", str(tmp_path / "cache"))
    write, args = CASES[name]
    write(tmp_path)
    args = args if name.startswith("rooms") else {"root": tmp_path, **args}
    return name, args, {s: DATASETS[name](s, **args) for s in ("train", "val", "test")}


def test_a_data_set_keeps_what_it_promises(made):
    name, args, splits = made
    tasks = DATASETS[name].declared_tasks(**args)
    for split, data in splits.items():
        assert isinstance(data, MultiTaskDataset)
        found = survey(data, tasks, split)
        assert found.problems == []
        assert found.num_read == len(data) > 0
        image, targets = data[0]
        assert set(targets) == set(tasks)
        collate([data[0], data[len(data) - 1]], tasks)
        copy, others = pickle.loads(pickle.dumps(data))[0]  # as a loader's workers get it
        assert torch.equal(image, copy)
        for one, two in zip(tree_leaves(targets), tree_leaves(others), strict=True):
            assert torch.equal(one.nan_to_num(), two.nan_to_num())


def test_splits_share_no_image(made):
    _, _, splits = made
    sums = [
        [float(data[i][0].double().sum()) for i in range(len(data))] for data in splits.values()
    ]
    every = [value for split in sums for value in split]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("rooms")])
def test_a_folder_that_is_not_there_is_one_line(tmp_path, name):
    with pytest.raises(CompactMTLError) as caught:
        DATASETS[name]("train", root=tmp_path, **{"tasks": TASKS} if name == "shards" else {})
    assert caught.value.exit_code in (10, 16)
    assert "\n" not in caught.value.message
    assert caught.value.hint
