import json
import tomllib
from pathlib import Path

from compactmtl import doctor
from compactmtl.cli import app

ROOT = Path(__file__).parents[3]


def finding(document, what):
    return next(row for row in document["findings"] if row["what"] == what)


def test_doctor_says_what_it_found_and_exits_0(capfd):
    assert app.run(["doctor"]) == 0
    out = capfd.readouterr().out
    assert "onnxruntime" in out
    assert "rooms" in out


def test_doctor_json(capfd, monkeypatch, tmp_path):
    (tmp_path / "nuclei_128").mkdir()
    monkeypatch.setenv("COMPACTMTL_DATA", str(tmp_path))
    monkeypatch.setenv("COMPACTMTL_CACHE", str(tmp_path / "not" / "there" / "yet"))
    assert app.run(["doctor", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert finding(document, "cpu")["ok"]
    assert finding(document, "nuclei_128")["ok"]
    assert not finding(document, "camvid_160x120")["ok"]
    assert finding(document, "cache")["ok"]
    assert not (tmp_path / "not").exists()


def test_without_data_the_hint_names_the_variable(monkeypatch):
    monkeypatch.delenv("COMPACTMTL_DATA", raising=False)
    row = finding(doctor.examine(), "nuclei_128")
    assert not row["ok"]
    assert "COMPACTMTL_DATA" in row["hint"]


def test_a_missing_extra_names_the_pip_command(monkeypatch):
    monkeypatch.setitem(doctor.EXTRAS, "wandb", ("no_such_module_anywhere",))
    row = finding(doctor.examine(), "wandb")
    assert not row["ok"]
    assert row["hint"] == 'pip install "compactmtl[wandb]"'


def test_the_table_of_extras_is_that_of_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(doctor.EXTRAS) == set(project["optional-dependencies"]) - {"dev", "bench"}
