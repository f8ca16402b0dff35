import json

import pytest

from compactmtl.errors import MissingFileError
from compactmtl.files import sha256
from compactmtl.lineage import read_lineage


def add(folder, name, parent_name, content=None, **changes):
    path = folder / name
    path.write_bytes(content or name.encode())
    document = {
        "artefact": name,
        "sha256": sha256(path),
        "parent": {"file": parent_name, "sha256": sha256(folder / parent_name)},
    } | changes
    (folder / f"{name}.json").write_text(json.dumps(document))
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"the model")
    (tmp_path / "report.json").write_text("{}")
    (tmp_path / "inputs.npz").write_bytes(b"")
    return tmp_path


def names(lineage):
    return [artefact.path.name for artefact in lineage.artefacts]


def test_no_model(tmp_path):
    with pytest.raises(MissingFileError, match=r"holds no model\.pt2"):
        read_lineage(tmp_path)


def test_a_folder_without_artefacts(folder):
    lineage = read_lineage(folder)
    assert (lineage.artefacts, lineage.strangers) == ((), {})


def test_children_and_grandchildren(folder):
    add(folder, "model.onnx", "model.pt2")
    add(folder, "a.engine", "model.onnx")  # before its parent in the order of names
    lineage = read_lineage(folder)
    assert names(lineage) == ["a.engine", "model.onnx"]
    assert lineage.artefacts[1].sha256 == sha256(folder / "model.onnx")
    assert lineage.artefacts[1].sidecar["artefact"] == "model.onnx"
    assert lineage.strangers == {}


def test_a_new_model_disowns_everything(folder):
    add(folder, "model.onnx", "model.pt2")
    add(folder, "a.engine", "model.onnx")
    (folder / "model.pt2").write_bytes(b"another model")
    lineage = read_lineage(folder)
    assert names(lineage) == []
    assert "another model.pt2" in lineage.strangers["model.onnx"]
    assert "another model.onnx" in lineage.strangers["a.engine"]


def test_a_part_belongs_to_the_artefact(folder):
    (folder / "model.bin").write_bytes(b"weights")
    parts = {"model.bin": sha256(folder / "model.bin")}
    add(folder, "model.xml", "model.pt2", parts=parts)
    assert names(read_lineage(folder)) == ["model.xml"]
    (folder / "model.bin").write_bytes(b"other weights")
    assert "its part model.bin's" in read_lineage(folder).strangers["model.xml"]
    (folder / "model.bin").unlink()
    assert names(read_lineage(folder)) == []


def test_each_stranger_has_its_reason(folder):
    add(folder, "good.onnx", "model.pt2")
    add(folder, "changed.onnx", "model.pt2").write_bytes(b"changed")
    add(folder, "orphan.onnx", "model.pt2", parent=None)
    (folder / "bare.onnx").write_bytes(b"no sidecar")
    add(folder, "broken.onnx", "model.pt2")
    (folder / "broken.onnx.json").write_text("{")
    add(folder, "list.onnx", "model.pt2")
    (folder / "list.onnx.json").write_text("[]")
    (folder / ".model.onnx.tmp.onnx").write_bytes(b"an unfinished write")
    lineage = read_lineage(folder)
    assert names(lineage) == ["good.onnx"]
    assert list(lineage.strangers) == [
        *("bare.onnx", "broken.onnx", "changed.onnx", "list.onnx", "orphan.onnx")
    ]
    assert "no sidecar" in lineage.strangers["bare.onnx"]
    assert "not a JSON document" in lineage.strangers["broken.onnx"]
    for name in ("changed.onnx", "list.onnx"):
        assert "its bytes are not those" in lineage.strangers[name]


def test_files_that_only_claim_each_other_do_not_descend(folder):
    add(folder, "a.onnx", "model.pt2")
    add(folder, "b.onnx", "a.onnx")
    add(folder, "a.onnx", "b.onnx")
    assert names(read_lineage(folder)) == []
