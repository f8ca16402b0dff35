"""A compact model is trained further in a run folder of its own."""

import copy
import json

import pytest
import torch
from zero_groups import zero_random_groups

from compactmtl.compact import load_folder
from compactmtl.compiler import compress, replay
from compactmtl.compiler.folder import write_folder
from compactmtl.errors import RecipeError, UsageError
from compactmtl.models.build import build
from compactmtl.training import finetune

IMAGE = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return zero_random_groups(build("segnet", {"seg": 3, "depth": 1}, {"widths": [6, 8]}), seed=1)


@pytest.fixture
def parts(blobs, tasks, tmp_path) -> dict:
    return {
        "train_data": blobs(18), "val_data": blobs(6, seed=1), "tasks": tasks,
        "root": tmp_path / "runs",
    }  # fmt: skip


def test_weights_move_the_structure_stays_and_the_report_tells(
    network, parts, make_recipe, tmp_path
) -> None:
    compact = compress(network, IMAGE)
    before = copy.deepcopy(compact.module.state_dict())
    done = finetune(compact, make_recipe(), **parts)
    assert all(torch.equal(v, before[k]) for k, v in compact.module.state_dict().items())
    assert compact.report.finetuned is None
    trained = done.compact
    state = trained.module.state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in before.items()}
    assert any(not torch.equal(v, before[k]) for k, v in state.items() if "weight" in k)
    assert not trained.module.training
    assert trained.report.finetuned["before"] == done.before
    assert trained.report.finetuned["after"] == done.result.metrics
    assert trained.report.finetuned["epochs"] == 2
    assert done.before.keys() == {"seg", "depth"}
    assert "compiled exactly, then trained further for 2 epochs" in trained.report.notes[-1]
    assert done.result.run_dir.name.startswith("blobs-finetune-")
    assert (done.result.run_dir / "log.csv").is_file()
    assert [record["phase"] for record in done.result.history] == ["dense", "dense"]
    write_folder(trained, tmp_path / "compact", images=[], origin="noise")
    loaded = load_folder(tmp_path / "compact")
    assert loaded.report.finetuned == json.loads(json.dumps(trained.report.finetuned))
    assert torch.equal(loaded.module(IMAGE)["seg"], trained.module(IMAGE)["seg"])
    assert torch.equal(loaded.dense(IMAGE)["seg"], network(IMAGE)["seg"])
    again = replay(network, tmp_path / "compact")  # with the weights that were trained
    assert torch.equal(again.module(IMAGE)["seg"], trained.module(IMAGE)["seg"])


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    network, parts, make_recipe, tmp_path
) -> None:
    class StopError(Exception):
        pass

    class Reporter:
        def __getattr__(self, name):
            return self._stop if name == "epoch_finished" else lambda *_: None

        def _stop(self, record):
            raise StopError

    compact = compress(network, IMAGE)
    whole = finetune(compact, make_recipe(), **parts | {"run_dir": tmp_path / "whole"})
    with pytest.raises(StopError):
        finetune(
            compact, make_recipe(), **parts | {"run_dir": tmp_path / "cut", "reporter": Reporter()}
        )
    rest = finetune(compact, make_recipe(), **parts | {"run_dir": tmp_path / "cut", "resume": True})
    expected = whole.compact.module.state_dict()
    for name, value in rest.compact.module.state_dict().items():
        assert torch.equal(value, expected[name])
    assert rest.before == whole.before


def test_networks_that_return_a_tuple_are_trained_under_the_names_given(
    network, parts, make_recipe
) -> None:
    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image):
            outputs = self.network(image)
            return outputs["seg"], outputs["depth"]

    compact = compress(Pair(), IMAGE, output_names=["seg", "depth"])
    done = finetune(compact, make_recipe(train={"epochs": 1}), **parts)
    assert isinstance(done.compact.module(IMAGE), tuple)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"sparsity": {"schedule": "constant", "lam": 0.1}}, "sets `sparsity`, which means nothin"),
        ({"overparam": {"until": 0.5}}, "sets `overparam`"),
        ({"train": {"init": "weights.pt"}}, r"sets `train\.init`"),
        ({"check": {"zero_groups": 0.5}}, r"sets `check\.zero_groups`"),
        ({"tasks": {"seg": {}}}, "has the tasks seg, the compact model has the outputs seg, depth"),
    ],
)
def test_what_cannot_be_honoured_is_refused(network, parts, make_recipe, sections, words) -> None:
    compact = compress(network, IMAGE, dynamic=False)
    with pytest.raises(RecipeError, match=words):
        finetune(compact, make_recipe(**sections), **parts)
    assert not parts["root"].exists()


def test_batches_of_another_size_than_a_fixed_one_are_refused(network, parts, make_recipe) -> None:
    compact = compress(network, IMAGE, dynamic=False)
    with pytest.raises(
        UsageError, match="batches are 4x3x16x24, the compact model takes 2x3x16x24"
    ):
        finetune(compact, make_recipe(), **parts)
    fixed = finetune(compact, make_recipe(data={"batch_size": 2}, train={"epochs": 1}), **parts)
    assert fixed.compact.report.finetuned["epochs"] == 1
