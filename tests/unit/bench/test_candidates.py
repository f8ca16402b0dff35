import pytest

from compactmtl.bench import cost
from compactmtl.bench.candidates import choose
from compactmtl.errors import MissingFileError, UsageError


def test_a_folder_gives_dense_first_and_names_the_strangers(folder):
    found = choose(folder)
    assert {name: path.name for name, path in found.files.items()} == {
        "dense": "dense.onnx",
        "compact": "model.onnx",
    }
    assert list(found.files) == ["dense", "compact"]
    assert list(found.left_out) == ["old.onnx"]
    assert found.stored.source == "rooms, val"


def test_a_folder_in_which_nothing_descends_says_why(folder):
    (folder / "model.pt2").write_bytes(b"another model")
    with pytest.raises(MissingFileError, match=r"model\.onnx was made from another model\.pt2"):
        choose(folder)


def test_an_artefact_without_runtime_is_left_out(folder, add_artefact, model):
    add_artefact(folder, "x.engine", model(), "compact")
    assert choose(folder).left_out["x.engine"] == "an engine, and no NVIDIA GPU answers here"


def test_artefacts_of_one_model_are_told_apart(folder, add_artefact, model):
    """By number format and runtime; the plain ones first, the dense twin before the compact one."""
    for name in ("model.int8.onnx", "dense.fp16.onnx", "model.fp16.onnx", "model.trt.onnx"):
        add_artefact(folder, name, model(), name.partition(".")[0].replace("model", "compact"))
    for name in ("model.xml", "dense.xml"):
        which = name.removesuffix(".xml").replace("model", "compact")
        add_artefact(folder, name, model(), which, kind="openvino")
    assert list(choose(folder).files) == [
        *("dense", "compact", "dense.fp16", "compact.fp16", "compact.int8"),
        *("dense.openvino", "compact.openvino", "compact.trt"),
    ]


def test_without_its_runtime_an_artefact_is_left_out(folder, add_artefact, model, monkeypatch):
    monkeypatch.setattr(cost, "version", lambda _: None)
    add_artefact(folder, "model.xml", model(), "compact", kind="openvino")
    assert "compactmtl[openvino]" in choose(folder).left_out["model.xml"]


def test_files_are_named_by_what_tells_them_apart(tmp_path):
    paths = [tmp_path / place for place in ("a/m.onnx", "b/m.onnx", "b/n.onnx")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert list(choose(paths[1:]).files) == ["m", "n"]
    assert list(choose(paths).files) == ["a/m", "b/m", "b/n"]
    assert list(choose([paths[0], paths[0]]).files) == ["m#1", "m#2"]
    (tmp_path / "a/m.xml").touch()
    assert list(choose([paths[0], tmp_path / "a/m.xml"]).files) == ["m.onnx", "m.xml"]
    assert list(choose(str(paths[0])).files) == ["m"]


def test_targets_that_are_not_there(tmp_path, folder):
    with pytest.raises(MissingFileError, match=r"no such file or folder: .*none"):
        choose(tmp_path / "none")
    with pytest.raises(MissingFileError, match=r"no such file: .*none\.onnx"):
        choose([folder / "model.onnx", folder / "none.onnx"])
    with pytest.raises(UsageError, match="is a folder"):
        choose([folder, folder / "model.onnx"])
    with pytest.raises(UsageError, match="nothing to bench"):
        choose([])
