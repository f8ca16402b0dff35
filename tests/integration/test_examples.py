"""The examples run as their READMEs say, at a tiny size."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
import torch

from compactmtl.checkpoint import load_checkpoint
from compactmtl.cli.app import run
from compactmtl.models.recipes import load
from compactmtl.overparam import is_expanded
from compactmtl.sparsity import census, groups
from compactmtl.training import fit

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("COMPACTMTL_CACHE", str(tmp_path_factory.getbasetemp() / "example-cache"))


@pytest.fixture
def example(request, tmp_path, monkeypatch):
    """Work in a copy of an example's folder; forget its modules afterwards."""
    folder = tmp_path / request.param
    shutil.copytree(EXAMPLES / request.param, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    yield folder
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


def own(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", [name], indirect=True)


TINY = [
    "train.epochs=3",
    "data.args.num_images=16",
    "data.args.size=32",
    "model.args.width=8",
    "sparsity.target=0.1",  # a run that misses its target ends with an error
    "sparsity.lam=10.0",
]


@own("own_network")
def test_own_network_data_and_task_go_from_training_to_the_report(example, capsys):
    settings = [part for text in TINY for part in ("--set", text)]
    assert run(["train", "recipe.toml", "--run-dir", "runs/shapes", "--quiet", *settings]) == 0
    checkpoint = load_checkpoint(example / "runs/shapes/ckpt.pt")
    assert checkpoint.history[-1]["val"]["hue"].keys() == {"mean_error"}
    assert list(checkpoint.tasks) == ["shape", "outline", "depth", "hue"]

    compress = ["compress", "runs/shapes/ckpt.pt", "--prune-zero-channels", "--quiet"]
    sized = ["--input", "image=1x3x32x32"]
    assert run([*compress, *sized]) == 3  # a checkpoint may not name code to import
    assert "not imported" in capsys.readouterr().err
    assert run([*compress, "--recipe", "runs/shapes/recipe.toml"]) == 0
    assert run(["export", "--quiet"]) == 0
    assert run(["bench", "--quiet", "--seconds", "0.2", "--rounds", "5"]) == 0
    assert run(["report", "--quiet", "--run", "runs/shapes"]) == 0
    page = (example / "compact/report.html").read_text(encoding="utf-8")
    assert all(task in page for task in ("shape", "outline", "depth", "hue"))
    assert "mean_error" in page


@own("own_network")
def test_own_task_is_right_about_angles(example):
    hue = importlib.import_module("hue_task").Hue("hue")
    target = torch.tensor([0.1, 6.2, 3.0, float("nan")]).reshape(1, 1, 2, 2)
    raw = torch.stack([target.cos(), target.sin()], dim=2)[:, 0].nan_to_num() * 5
    assert hue.loss(raw, target) == pytest.approx(0, abs=1e-6)
    assert hue.predict(raw)[0, 0, 0] == pytest.approx(target[0, 0, 0], abs=1e-5)
    metric = hue.metric()
    metric.update(-raw, target)  # the opposite colour, at every valid pixel
    assert metric.compute()["mean_error"].item() == pytest.approx(180, abs=1e-2)
    assert hue.loss(-raw, target) == pytest.approx(2, abs=1e-5)
    nothing = hue.missing(2, 2)[None]
    assert not hue.valid(nothing).any()
    assert hue.loss(raw, nothing) == 0


@own("own_network")
def test_own_data_set_depends_on_seed_and_index_alone(example):
    shapes = importlib.import_module("shapes_data").Shapes
    image, targets = shapes("train", size=32)[5]
    again, _ = shapes("train", size=32)[5]
    other, _ = shapes("val", size=32)[5]
    assert torch.equal(image, again)
    assert not torch.equal(image, other)
    assert image.shape == (3, 32, 32)
    assert sorted(targets) == ["depth", "hue", "outline", "shape"]
    assert "hue" not in shapes("train", size=32)[3][1]


@own("plain_loop")
def test_plain_loop_and_train_give_equal_weights(example, tmp_path):
    plain_loop = importlib.import_module("plain_loop")
    tiny = [
        "train.epochs=2",
        "data.args.num_images=20",
        "data.args.height=32",
        "data.args.width=32",
    ]
    recipe = load("recipe.toml", [*tiny, "train.device='cpu'"])
    plain = plain_loop.train(recipe).state_dict()
    trained = load_checkpoint(fit(recipe, run_dir=tmp_path / "run").checkpoint_path).model
    assert plain.keys() == trained.keys()
    assert all(torch.equal(plain[name], trained[name]) for name in plain)

    other = plain_loop.train(load("recipe.toml", [*tiny, "seed=1"])).state_dict()
    assert not all(torch.equal(plain[name], other[name]) for name in plain)


@own("lightning_callback")
@pytest.mark.filterwarnings("ignore")  # Lightning warns about its own dependencies
def test_lightning_callback_goes_through_all_phases(example):
    pytest.importorskip("lightning")
    module = importlib.import_module("train").train(epochs=3, num_images=16, lam=0.5)
    (optimizer,) = module.trainer.optimizers
    assert not is_expanded(module.network)
    assert optimizer.frozen
    counts = census(module.network, groups(module.network))
    assert 0 < counts.zero_groups < counts.num_groups
    factory = importlib.import_module("rooms_network").build
    factory().load_state_dict(module.network.state_dict())


@own("own_rule")
def test_own_rule_lets_the_compiler_remove_what_an_op_of_ones_own_reads(example, capsys):
    importlib.import_module("swirl").main()
    said = capsys.readouterr().out
    assert "opaque: none" in said
    assert said in (example / "README.md").read_text()
