"""The verb `data`."""

import json

import numpy as np
import pytest
from celebamask_layout import write_celebamask
from nyud_layout import write_nyud
from nyuv2_layout import write_nyuv2
from nyuv2_mat_layout import write_nyuv2_mat
from PIL import Image

from compactmtl.cli import app
from compactmtl.data import DATASETS


def test_the_list_names_every_data_set_with_its_terms(capsys):
    assert app.run(["data", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["data_sets"]
    assert {row["name"] for row in rows} == set(DATASETS)
    assert all(row["terms"] and row["origin"] for row in rows)
    assert [row["name"] for row in rows if not row["tasks"]] == ["shards"]  # the user says which
    assert "rooms-demo" in rows[0]["recipes"]


def test_a_good_folder_is_counted_and_drawn(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = write_nyuv2(tmp_path / "d") / "nyuv2"
    assert app.run(["data", "check", str(place), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["data_sets"]
    assert [split["num_samples"] for split in found["splits"]] == [5, 1, 3]
    assert found["splits"][0]["tasks"]["depth"]["num_labelled"] == 5
    assert any("795" in note for note in found["notes"])
    with Image.open(tmp_path / "data-check.png") as drawn:
        assert drawn.width > 4 * 192  # image and three targets


@pytest.mark.parametrize(
    ("kind", "array", "words"),
    [
        ("label", np.full((24, 32), 13.0), "label 13"),
        ("depth", np.zeros((24, 32)), "expected (H, W, 1)"),
        ("depth", np.full((24, 32, 1), 4000.0), "expected metres"),
        ("normal", np.full((24, 32, 3), 0.5), "another length than 1"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_16(tmp_path, capsys, kind, array, words):
    place = write_nyuv2(tmp_path) / "nyuv2"
    np.save(place / "train" / kind / "2.npy", array)
    code = app.run(["data", "check", str(place), "--out", str(tmp_path / "a.png"), "--json"])
    printed = capsys.readouterr()
    assert code == 16
    assert words in printed.err
    assert json.loads(printed.out)["num_problems"] == 1


def test_what_is_missing_is_said_with_exit_code_16(tmp_path, capsys):
    place = write_nyuv2(tmp_path) / "nyuv2"
    (place / "train/depth/1.npy").unlink()
    assert app.run(["data", "check", str(place), "--out", str(tmp_path / "a.png")]) == 16
    assert "1.npy" in capsys.readouterr().err
    (place / "train/normal").rename(tmp_path / "elsewhere")
    assert app.run(["data", "check", str(place), "--out", str(tmp_path / "a.png")]) == 16
    assert "normal` is missing" in capsys.readouterr().err.replace("/`", "`")


@pytest.mark.parametrize(
    ("write", "folder", "name", "counts"),
    [
        (write_nyud, "NYUD_MT", "nyud", [5, 1, 3]),
        (write_celebamask, "CelebAMask-HQ", "celebamask_hq", [4, 2, 2]),
        (write_nyuv2_mat, "nyuv2", "nyuv2_mat", [5, 1, 2]),
    ],
)
def test_each_layout_is_told_and_counted(tmp_path, capsys, write, folder, name, counts):
    if name == "nyuv2_mat":
        pytest.importorskip("h5py", reason='pip install "compactmtl[nyuv2]"')
        pytest.importorskip("scipy", reason='pip install "compactmtl[nyuv2]"')
    place = write(tmp_path / "d") / folder
    renamed = place.rename(tmp_path / "anything")
    call = ["data", "check", str(renamed), "--set", "size=[24, 32]", "--json"]
    code = app.run([*call, "--out", str(tmp_path / "a.png")])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    (found,) = json.loads(printed.out)["data_sets"]
    assert found["data"] == name
    assert [split["num_samples"] for split in found["splits"]] == counts


def test_wrong_calls_are_usage_errors(tmp_path, capsys):
    assert app.run(["data", "list", str(tmp_path)]) == 2
    assert app.run(["data", "check"]) == 2
    assert app.run(["data", "check", str(tmp_path / "gone")]) == 10
    assert app.run(["data", "check", str(tmp_path)]) == 16
    assert "data list" in capsys.readouterr().err


def test_a_data_set_of_ones_own_is_checked_too(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from compactmtl.data.nyuv2 import NyuV2\n"
        "class Mine(NyuV2):\n"
        "    def __init__(self, split, root, *, size=1):\n"
        "        super().__init__(split, root)\n"
    )
    monkeypatch.chdir(tmp_path)
    root = write_nyuv2(tmp_path / "d")
    call = ["data", "check", str(root), "--data", "mine:Mine", "--set", "size=2", "--limit", "2"]
    assert app.run([*call, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["data_sets"]
    assert found["data"] == "mine:Mine"
    assert found["splits"][0]["num_read"] == 2
