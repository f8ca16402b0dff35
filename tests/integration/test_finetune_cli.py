"""Compile a checkpoint, train the compact model further, write it, rebuild it."""

import json
from pathlib import Path

import pytest
import torch

from compactmtl.cli.app import run
from compactmtl.cli.console import console
from compactmtl.cli.finetune_step import finetune_step
from compactmtl.cli.further_table import show_dropped, show_finetuned
from compactmtl.compact import load_folder
from compactmtl.compiler import compress, replay
from compactmtl.compiler.folder import write_folder
from compactmtl.compiler.source import load_source
from compactmtl.errors import RecipeError

RECIPE = """
name = "rooms-further"
[model]
name = "segnet"
args = { widths = [8, 12, 16, 16, 16] }
[data]
name = "rooms"
args = { num_images = 8, num_eval_images = 2, height = 32, width = 48 }
batch_size = 4
[tasks.seg]
[tasks.depth]
[tasks.normals]
[train]
epochs = 2
lr = 1e-3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Train tiny rooms once."""
    folder = tmp_path_factory.mktemp("finetune")
    (folder / "further.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COMPACTMTL_CACHE", str(folder / "cache"))
        small = ("--set", "data.args.num_images=8", "--set", "data.args.num_eval_images=2")
        assert run(["train", "rooms-smoke", *small, "--run-dir", "runs/smoke"]) == 0
    return folder


@pytest.mark.slow
def test_the_compact_model_is_trained_written_and_rebuilt(folder, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COMPACTMTL_CACHE", str(folder / "cache"))
    source = load_source(Path("runs/smoke"))
    compact = compress(source.model, source.example_inputs, images=source.images[:1],
                       tasks=source.tasks, parent=source.parent)  # fmt: skip
    with pytest.raises(RecipeError, match="sets `overparam`"):
        finetune_step(compact, "rooms-smoke", runs=Path("runs"), run_dir=None)
    run_dir = Path("runs/further")
    trained = finetune_step(compact, "further.toml", runs=Path("runs"), run_dir=run_dir)
    again = finetune_step(compact, "further.toml", runs=Path("runs"), run_dir=run_dir)  # resumed
    assert trained.report.finetuned == again.report.finetuned
    document = write_folder(trained, folder / "compact", images=source.images, origin="rooms")
    show_finetuned(document["finetuned"])
    show_dropped(document["dropped_modules"], "report.json")
    assert "trained further for 2 epochs" in capsys.readouterr().out
    told = json.loads((folder / "compact" / "report.json").read_text())
    assert told["finetuned"]["before"].keys() == {"seg", "depth", "normals"}
    assert any("what was verified are the weights before" in note for note in told["notes"])
    assert (run_dir / "log.jsonl").read_text().count("\n") == 2
    loaded = load_folder(folder / "compact")
    image = source.images[0]
    assert loaded.manifest.parent == source.parent
    assert not torch.equal(loaded.module(image)["seg"], compact.module(image)["seg"])
    rebuilt = replay(source.model, folder / "compact")
    assert torch.equal(rebuilt.module(image)["depth"], loaded.module(image)["depth"])


@pytest.mark.slow
def test_the_verb_trains_what_it_compiled(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COMPACTMTL_CACHE", str(folder / "cache"))
    typed = ["compress", "runs/smoke", "--prune-zero-channels", "-o", "typed"]
    assert run([*typed, "--variants", "--finetune", "further.toml"]) == 2  # one model is trained
    assert run([*typed, "--finetune-run", "runs/typed"]) == 2  # by which recipe?
    assert run([*typed, "--fresh"]) == 2
    assert not Path("typed").exists()
    assert run([*typed, "--finetune", "further.toml", "--finetune-run", "runs/typed"]) == 0
    told = json.loads(Path("typed/report.json").read_text())
    assert told["finetuned"]["after"].keys() == {"seg", "depth", "normals"}
    assert load_folder(Path("typed")).report.finetuned == told["finetuned"]


def test_what_is_for_training_only_is_printed(capsys) -> None:
    console.configure(json=False, quiet=False)  # an earlier test may have asked for quiet
    rows = [
        {"module": "aux", "kind": "Head", "num_params": 1200},
        *({"module": f"depth.{i}", "kind": "StochasticDepth", "num_params": 0} for i in range(3)),
    ]
    show_dropped(rows, "report.json")
    told = capsys.readouterr().err
    assert "`aux` (Head, 1,200 parameters) is for training only" in told
    assert "3 StochasticDepth" in told
