import json

import pytest

from compactmtl.errors import CorruptFileError, MissingFileError
from compactmtl.report.collect import collect


def edit(path, **changes):
    document = json.loads(path.read_text())
    document.update(changes)
    path.write_text(json.dumps(document))


def test_a_complete_folder_is_read_whole(complete):
    folder, run = complete
    record = collect(folder)
    assert record.run.name == run.name
    assert record.title == "rooms-demo"
    assert [artefact.path.name for artefact in record.artefacts] == ["dense.onnx", "model.onnx"]
    assert record.bench["verdict"] == "ok"
    assert record.left_out == ()
    assert not record.run_was_named


def test_a_run_path_is_relative_to_the_compact_folder(complete, monkeypatch, tmp_path_factory):
    folder, run = complete
    source = json.loads((folder / "report.json").read_text())["source"]
    edit(folder / "report.json", source={**source, "run": f"../runs/{run.name}"})
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert collect(folder).run.name == run.name


def test_an_export_of_another_model_is_named_and_left_out_with_its_bench(complete):
    folder, _ = complete
    sidecar = json.loads((folder / "model.onnx.json").read_text())
    edit(folder / "model.onnx.json", parent={**sidecar["parent"], "sha256": "0" * 64})
    record = collect(folder)
    assert [artefact.path.name for artefact in record.artefacts] == ["dense.onnx"]
    assert record.bench is None
    assert record.left_out[0].startswith("model.onnx: ")
    assert record.left_out[1].startswith("bench.json: ")


def test_a_run_that_went_on_is_left_out(complete):
    folder, run = complete
    (run / "ckpt.pt").write_bytes(b"later")
    record = collect(folder)
    assert record.run is None
    assert run.name in record.left_out[0]


def test_a_report_of_another_model_is_an_error(complete):
    folder, _ = complete
    edit(folder / "report.json", model={"file": "model.pt2", "sha256": "0" * 64})
    with pytest.raises(CorruptFileError, match="describes another"):
        collect(folder)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "not a JSON document"),
        ("[]", "format_version"),
        ('{"format_version": 99}', "format_version 99"),
        ('{"format_version": 1, "source": {}}', "no table `before`"),
    ],
)
def test_a_damaged_report_json_is_named(content, match, complete):
    folder, _ = complete
    (folder / "report.json").write_text(content)
    with pytest.raises(CorruptFileError, match=match):
        collect(folder)


def test_what_is_not_a_compact_folder_says_what_to_do(tmp_path):
    with pytest.raises(MissingFileError, match=r"holds no report\.json") as caught:
        collect(tmp_path)
    assert "compactmtl compress" in caught.value.hint


def test_a_named_run_must_be_a_run(complete, tmp_path):
    with pytest.raises(MissingFileError, match=r"recipe\.toml"):
        collect(complete[0], run=tmp_path)


def test_a_model_that_is_gone_is_named(complete):
    (complete[0] / "model.pt2").unlink()
    with pytest.raises(MissingFileError, match=r"model\.pt2"):
        collect(complete[0])
