"""The public ``export`` on what the compiler really writes."""

import json
import sys

import numpy as np
import onnx
import pytest
import torch
from two_tasks import TwoTasks

from compactmtl.cli.app import run
from compactmtl.compiler import compress
from compactmtl.errors import (
    CorruptFileError,
    MissingFileError,
    NotPossibleHereError,
    UnsafeFileError,
    UsageError,
)
from compactmtl.export import TARGETS, export, find_target
from compactmtl.export.base import Exporter
from compactmtl.export.options import Options
from compactmtl.export.stored import read_inputs
from compactmtl.files import sha256
from compactmtl.lineage import read_lineage
from compactmtl.remote.ssh import COMMAND_VARIABLE


@pytest.fixture(scope="module")
def compact():
    torch.manual_seed(0)
    network = TwoTasks().eval()
    with torch.no_grad():
        for head in network.heads.values():
            head.weight[:, ::2] = 0.0
    return compress(network, torch.rand(2, 3, 16, 24))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, compact):
    folder = tmp_path_factory.mktemp("compact")
    compact.save(folder / "model.pt2")
    compact.save(folder / "dense.pt2", "dense")
    images = np.random.default_rng(0).random((8, 3, 16, 24), dtype=np.float32)
    np.savez(folder / "inputs.npz", image=images, source="rooms, val")
    assert run(["export", str(folder), "--quiet"]) == 0
    return folder


def test_the_verb_writes_both_models_with_sidecars_and_reference(folder):
    assert {path.name for path in folder.iterdir()} == {
        *("model.pt2", "dense.pt2", "inputs.npz", "reference.npz"),
        *("model.onnx", "model.onnx.json", "dense.onnx", "dense.onnx.json"),
    }
    lineage = read_lineage(folder)
    assert [artefact.path.name for artefact in lineage.artefacts] == ["dense.onnx", "model.onnx"]
    assert [artefact.sidecar["which"] for artefact in lineage.artefacts] == ["dense", "compact"]
    assert lineage.artefacts[0].sidecar["parent"] == {
        "file": "model.pt2",
        "sha256": sha256(folder / "model.pt2"),
    }
    assert lineage.artefacts[0].sidecar["verified"]["cases"][0]["source"] == "rooms, val"


def test_the_compact_file_is_smaller_and_computes_the_same(folder):
    assert (folder / "model.onnx").stat().st_size < (folder / "dense.onnx").stat().st_size
    exporter = find_target("onnx")
    with np.load(folder / "reference.npz", allow_pickle=False) as reference:
        assert set(reference.files) == {"input.image", "output.seg", "output.depth"}
        image = reference["input.image"]
        np.testing.assert_array_equal(image, read_inputs(folder / "inputs.npz").arrays["image"])
        for name in ("model.onnx", "dense.onnx"):
            outputs = exporter.load(folder / name)({"image": image})
            for task in ("seg", "depth"):
                want = reference[f"output.{task}"]
                assert want.dtype == np.float32
                np.testing.assert_allclose(outputs[task], want, rtol=0, atol=5e-6)


def test_json_is_one_document(folder, capsys):
    assert run(["export", str(folder), "--no-dense", "--opset", "18", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (artefact,) = document["artefacts"]
    assert (artefact["artefact"], artefact["opset"]) == ("model.onnx", 18)
    assert set(artefact["verified"]["per_task"]) == {"seg", "depth"}


def test_a_model_in_memory_has_no_parent_file(tmp_path, compact):
    sidecar = export(compact, tmp_path / "here.onnx", which="dense")
    assert sidecar.parent.sha256 is None
    assert "random" in sidecar.verified.cases[0]["source"]
    onnx.checker.check_model(onnx.load(tmp_path / "here.onnx"))
    assert not (tmp_path / "reference.npz").exists()


def test_an_unknown_target_lists_those_there_are(compact, tmp_path):
    with pytest.raises(UsageError, match="did you mean `onnx`") as error:
        export(compact, tmp_path / "x", target="onx")
    assert error.value.hint.startswith("there are: onnx, ")
    assert list(tmp_path.iterdir()) == []


def test_every_target_is_an_exporter_of_its_own_name():
    for name, make in TARGETS.items():
        exporter = make()
        assert isinstance(exporter, Exporter)
        assert exporter.target == name


def test_folders_that_are_not_complete(tmp_path, folder, capsys):
    with pytest.raises(MissingFileError, match=r"holds no model\.pt2"):
        export(tmp_path, tmp_path / "x.onnx")
    (tmp_path / "model.pt2").write_bytes((folder / "model.pt2").read_bytes())
    with pytest.raises(MissingFileError, match=r"dense\.pt2") as error:
        export(tmp_path, tmp_path / "x.onnx", which="dense")
    assert "--no-dense" in error.value.hint
    assert run(["export", str(tmp_path / "none")]) == MissingFileError.exit_code


def test_a_board_that_does_not_answer_is_told_before_anything_is_written(
    compact, tmp_path, monkeypatch
):
    refuses = tmp_path / "refuses"
    refuses.write_text("import sys; sys.exit(255)")
    monkeypatch.setenv(COMMAND_VARIABLE, f"{sys.executable} {refuses}")
    options = Options(host="user@board")
    folder = tmp_path / "compact"
    folder.mkdir()
    with pytest.raises(NotPossibleHereError, match="does not answer"):
        export(compact, folder / "model.engine", target="tensorrt", options=options)
    assert not list(folder.iterdir())


def test_inputs_that_are_no_arrays(tmp_path):
    path = tmp_path / "inputs.npz"
    for content in (b"", b"not a zip", b"PK\x03\x04 broken"):
        path.write_bytes(content)
        with pytest.raises(CorruptFileError) as caught:
            read_inputs(path)
        assert "allow_pickle" not in str(caught.value)  # numpy's advice where it knows no better
    np.savez(path, source="only")
    with pytest.raises(CorruptFileError, match="holds no sample"):
        read_inputs(path)
    np.savez(path, image=np.array([object()]))
    with pytest.raises(UnsafeFileError, match="pickled"):
        read_inputs(path)
