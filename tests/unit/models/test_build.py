"""Networks by name."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from compactmtl.errors import PartError, RecipeError
from compactmtl.models import MODELS
from compactmtl.models.build import build

TASKS = {"seg": 5, "depth": 1}


def test_registry_lists_the_networks_without_torch():
    code = (
        "import sys; from compactmtl.models import MODELS; "
        "print(*MODELS); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(MODELS)


def test_network_is_built_with_toml_arguments():
    network = build("segnet", TASKS, {"widths": [4, 6]})
    assert list(network(torch.rand(2, 3, 8, 8))) == ["seg", "depth"]
    network = build("deeplab_resnet18", TASKS, {"width": 0.0625, "head_channels": 4, "rates": [2]})
    assert len(network.heads["seg"].branches) == 2


@pytest.mark.parametrize(
    ("name", "args", "error", "message"),
    [
        ("segnt", {}, PartError, "did you mean `segnet`"),
        ("segnet", {"width": [4]}, RecipeError, "network `segnet`: .*did you mean `widths`"),
        ("segnet", {"widths": 4}, RecipeError, "argument `widths`: .*got 4"),
        ("segnet", {"widths": [4, "x"]}, RecipeError, "argument `widths`"),
        ("deeplab_resnet50", {"depth": 18}, RecipeError, "unknown argument `depth`"),
    ],
)
def test_what_does_not_fit_is_refused(name, args, error, message):
    with pytest.raises(error, match=message):
        build(name, TASKS, args)


@pytest.mark.parametrize("task", ["a.b", "", "keys", "train", "type"])
def test_task_name_that_no_module_can_have_is_refused(task):
    with pytest.raises(RecipeError, match="cannot be the name of a task"):
        build("segnet", {task: 1}, {"widths": [2]})


def test_no_task_is_refused():
    with pytest.raises(RecipeError, match="at least one task"):
        build("segnet", {}, {"widths": [2]})


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_network_module.py").write_text(
        "from torch import nn\n"
        "def make(tasks, size=3):\n    return nn.Conv2d(3, sum(tasks.values()), size)\n"
        "def number(tasks):\n    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "own_network_module"


def test_own_factory_is_called_with_the_tasks(own_module):
    network = build(f"{own_module}:make", TASKS, {"size": 5})
    assert isinstance(network, nn.Conv2d)
    assert network.out_channels == 6
    with pytest.raises(RecipeError, match="did you mean `size`"):
        build(f"{own_module}:make", TASKS, {"sise": 5})


def test_own_factory_that_makes_no_network_is_refused(own_module):
    with pytest.raises(PartError, match="is a int, expected"):
        build(f"{own_module}:number", TASKS, {})
