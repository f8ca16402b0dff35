"""A small paired study, typed."""

import json

import pytest

from compactmtl.cli.app import run

pytestmark = pytest.mark.slow  # every run is a process of its own

TINY = (
    "--set", "data.args={num_images = 16, num_eval_images = 8, height = 32, width = 32}",
    "--set", "model.name=segnet_s", "--set", "model.args={widths = [4, 4]}",
    "--set", "data.batch_size=8", "--set", "train.epochs=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    command = ["compare", "rooms-dense", "fac=rooms-fac", *TINY, "--seeds", "2", "--jobs", "2"]
    assert run([*command, "--device", "cpu", "-o", str(folder / "s")]) == 0
    return folder / "s", command


def test_every_cell_states_its_values_and_pairs(study):
    record = json.loads((study[0] / "compare.json").read_text())
    assert record["subjects"] == ["rooms-dense", "fac"]
    assert record["done"] == {"rooms-dense": 2, "fac": 2}
    row = record["test"][0]
    assert (row["task"], row["metric"]) == ("seg", "miou")
    for seed in range(2):
        path = study[0] / "fac" / f"seed-{seed}" / "evaluation" / "evaluation.json"
        metrics = next(iter(json.loads(path.read_text())["metrics"].values()))
        assert row["cells"]["fac"]["values"][seed] == metrics["seg"]["miou"]
    assert row["differences"]["fac"]["n"] == 2
    assert len(record["delta_m"]["fac"]["values"]) == 2 or record["notes"]
    page = (study[0] / "compare.html").read_text()
    assert "fac" in page
    assert "<script src" not in page


def test_a_study_goes_on_without_doing_anything_twice(study, capsys):
    folder, command = study
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("ckpt.pt")}
    (folder / "fac" / "seed-1" / "evaluation" / "evaluation.json").unlink()  # killed before scoring
    assert run([*command, "--device", "cpu", "-o", str(folder), "--json"]) == 0
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("ckpt.pt")} == stamps
    assert json.loads(capsys.readouterr().out)["done"] == {"rooms-dense": 2, "fac": 2}


def test_another_recipe_under_the_same_label_is_refused(study, capsys):
    folder, command = study
    assert run([*command, "--set", "train.lr=0.5", "-o", str(folder)]) == 3
    assert "another recipe" in capsys.readouterr().err


def test_a_run_that_fails_says_which_and_where(tmp_path, capsys):
    second = "never=rooms-fac+check={margin=0.99}"  # only a finished training can miss it
    command = ["compare", "rooms-dense", second, *TINY, "--seeds", "1", "-o", str(tmp_path)]
    assert run([*command, "--device", "cpu"]) == 17
    said = capsys.readouterr().err
    assert "rooms-dense, seed 0: done" in said
    assert "never, seed 0" in said
    assert "output.txt" in said


@pytest.mark.parametrize(
    ("second", "options", "words"),
    [
        ("wide=rooms-fac+model.args={widht=4}", (), "error: wide: network `segnet_s`: unknown"),
        ("rooms-fac", ("--device", "cuda:7"), "error: rooms-dense: "),
    ],
)
def test_what_a_recipe_is_refused_for_is_said_before_the_first_run(
    tmp_path, capsys, second, options, words
):
    folder = tmp_path / "s"
    assert run(["compare", "rooms-dense", second, *TINY, *options, "-o", str(folder)]) == 2
    assert words in capsys.readouterr().err
    assert not folder.exists()
