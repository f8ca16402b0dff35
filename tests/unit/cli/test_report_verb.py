import json

from compactmtl.cli import app


def test_report_of_a_folder_that_is_not_one(tmp_path, capfd):
    assert app.run(["report", str(tmp_path)]) == 10
    err = capfd.readouterr().err
    assert "holds no report.json" in err
    assert "hint: run `compactmtl compress" in err


def test_report_of_no_folder_at_all_in_json_mode(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert app.run(["report", "--json"]) == 10
    assert json.loads(capfd.readouterr().out)["error"]["type"] == "MissingFileError"
