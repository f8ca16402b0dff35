"""`compactmtl sweep` as a user types it."""

import json
import shutil

import pytest

from compactmtl.cli.app import run

TINY = (
    "--set", "data.args={num_images=16, num_eval_images=8, height=32, width=32}",
    "--set", "model.name=segnet_s", "--set", "model.args={widths=[4, 4]}",
    "--set", "data.batch_size=8", "--set", "train.epochs=2", "--tasks", "seg",
    "--seeds", "1", "--seconds", "0", "--device", "cpu",
)  # fmt: skip
TOO_STRONG = "1e6"
NO_SUCH_LAYER = "sparsity={schedule='constant', layers=['lost.*']}"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--lam", "-1e-3"], 2, "at least 0"),
        (["--lam", ""], 2, "nothing to sweep over"),
        ([], 2, "--lam"),
        (["--lam", "0.1", "--tasks", "seg,depht"], 2, "did you mean `depth`"),
        (["--lam", "0.1", "--tasks", "seg,seg"], 2, "named twice"),
        (["--lam", "0.1", "--cpus", "2"], 2, "--cpus goes with --ray"),
        (["--lam", "0.1", "--jobs", "2", "--ray", "h:1"], 2, "--jobs does not go with --ray"),
        (["--lam", "0.1", "--set", "train.epoch=3"], 2, "did you mean `epochs`"),
        (["--lam", "0,0.1", *TINY, "--set", "model.args={widht=4}"], 2, "did you mean `widths`"),
        (["--lam", "0,0.1", *TINY, "--set", NO_SUCH_LAYER], 2, "lost.*"),
        (["--lam", TOO_STRONG, *TINY], 17, "every group of the penalised layers is zero"),
    ],
)
def test_what_cannot_be_swept_is_one_line_and_writes_nothing(
    tmp_path, monkeypatch, capsys, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    assert run(["sweep", "rooms-dense", *arguments]) == code
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path, monkeypatch, capsys):
    pytest.importorskip("ray", reason="extra cluster")
    monkeypatch.chdir(tmp_path)
    assert run(["sweep", "rooms-dense", "--lam", "0.1", "--ray", "127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert "nothing answers at `127.0.0.1:1`" in said
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of three lambdas, of which the last makes everything zero."""
    folder = tmp_path_factory.mktemp("sweep") / "s"
    command = ["sweep", "rooms-sparse", "--lam", f"0,0.3,{TOO_STRONG}", *TINY, "-o", str(folder)]
    return folder, command, run(command)


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_others_go_on(swept, capsys):
    folder, command, code = swept
    assert code == 17
    document = json.loads((folder / "sweep.json").read_text())
    assert [each["status"] for each in document["runs"]] == ["finished", "finished", "failed"]
    assert run(command) == 17  # it is tried again; nothing else is done
    said = capsys.readouterr().err
    assert "2 of 3 runs are finished already" in said
    assert "seg_lam-1000000, seed 0: every group of the penalised layers is zero" in said
    assert str(folder / "seg_lam-1000000" / "seed-0" / "output.txt") in said


@pytest.mark.slow
def test_a_sweep_goes_on_where_it_was_and_can_grow(swept, tmp_path, capsys):
    folder = tmp_path / "s"
    shutil.copytree(swept[0], folder)
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("ckpt.pt")}
    (folder / "seg_lam-0.3" / "seed-0" / "compact" / "dense.onnx.json").unlink()  # killed there
    command = ["sweep", "rooms-sparse", "--lam", "0,0.3", *TINY, "-o", str(folder), "--json"]
    assert run(command) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["lams"] == [0.0, 0.3]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("ckpt.pt")} == stamps
    zero, strong = document["points"]
    assert zero["sparsity"]["groups"]["mean"] == 0.0
    assert strong["macs"]["compact"]["mean"] <= zero["macs"]["compact"]["mean"]
    other = [*command, "--set", "train.lr=0.5"]
    assert run(other) == 3
    assert "a sweep of another recipe" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_of_nothing_but_failures_is_an_error(tmp_path, capsys):
    # Not in the steps that are tried first.
    later = ("--set", "sparsity.start=0.5", "--set", "sparsity.stop=1.0")
    command = ["sweep", "rooms-sparse", "--lam", TOO_STRONG, *TINY, *later, "-o", str(tmp_path)]
    assert run(command) == 17
    assert "all 1 runs failed; the first: seg_lam-1000000, seed 0" in capsys.readouterr().err
