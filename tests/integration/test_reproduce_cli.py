"""`compactmtl reproduce` as a user types it."""

import json

import pytest

from compactmtl.cli.app import run
from compactmtl.study.reproduce.tables import tables

TINY = (
    "--data", "rooms", "--rows", "baseline-s,fac-s", "--seeds", "1", "--device", "cpu",
    "--set", "train.epochs=1", "--set", "data.num_workers=0", "--set", "model.args={widths=[4]}",
    "--set", "data.args={num_images=16, num_eval_images=8, height=16, width=16}",
)  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMPACTMTL_DATA", raising=False)


def test_the_list_has_every_table_and_what_it_needs(capsys):
    assert run(["reproduce", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["tables"]
    assert [table["id"] for table in found] == list(tables())
    assert all(table["status"] for table in found)


def test_a_dry_run_names_each_quirk_with_its_setting(capsys):
    assert run(["reproduce", "A:table1", "--preset", "as-published", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    for words in ("direct-init", "A.init", "--set overparam.init=direct", "not reproduced: "):
        assert words in out
    assert "no folder of data sets was named" in err


def test_a_reading_can_be_looked_up(capsys):
    assert run(["reproduce", "A.init"]) == 0
    assert "Section 3.2: with the spectral" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["A:tabel1"], 2, "did you mean `A:table1`"),
        (["A:table1"], 16, "no folder of data sets was named"),
        (["A:table1", "--data", "nowhere"], 16, "nowhere"),
        (["A:table1", "--data", "."], 10, "nyuv2/train/image"),
        (["A:table2"], 16, "no folder of data sets was named"),
        (["B:figure1"], 2, "nothing to run"),
        (["A:table1", "--preset", "paper"], 2, "corrected, as-published"),
    ],
)
def test_what_cannot_be_done_is_one_line(capsys, arguments, code, words):
    assert run(["reproduce", *arguments]) == code
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_trial_on_rooms_goes_on_and_shows_no_published_value(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPACTMTL_CACHE", str(tmp_path / "cache"))
    assert run(["reproduce", "A:table3", *TINY]) == 0
    out, err = capsys.readouterr()
    assert "other data" in out
    assert "in all about" in err
    folder = tmp_path / "reproduce" / "A-table3-corrected"
    document = json.loads((folder / "reproduce.json").read_text())
    assert [row["done"] for row in document["rows"]] == [1, 1]
    assert {result["published"] for result in document["results"]} == {None}
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("ckpt.pt")}
    assert len(stamps) == 2
    assert run(["reproduce", "A:table3", *TINY, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["results"] == document["results"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("ckpt.pt")} == stamps
