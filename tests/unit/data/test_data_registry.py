"""The registry of data sets: lazy, and strict about arguments."""

import inspect
import subprocess
import sys

import pytest

from compactmtl.data import DATASETS
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.errors import UsageError


def test_listing_data_sets_imports_no_torch():
    program = "import sys; from compactmtl.data import DATASETS; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_declared_tasks_need_no_disk(name, monkeypatch):
    monkeypatch.delenv("COMPACTMTL_DATA", raising=False)
    monkeypatch.setenv("COMPACTMTL_CACHE", "/nowhere")
    tasks = DATASETS[name].declared_tasks(root="/nowhere")
    assert all(task.name == key for key, task in tasks.items())


def test_registered_factory_builds_and_shows_its_arguments(tmp_path):
    data = DATASETS["rooms"]("train", num_images=1, height=4, width=4, cache=tmp_path)
    assert isinstance(data, MultiTaskDataset)
    assert "progress" in inspect.signature(DATASETS["rooms"]).parameters


def test_unknown_argument_is_a_usage_error_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean `num_images`"):
        DATASETS["rooms"]("train", num_image=3)


def test_an_argument_that_is_needed_is_named():
    with pytest.raises(UsageError, match="`shards` needs its argument `tasks`"):
        DATASETS["shards"]("train")
