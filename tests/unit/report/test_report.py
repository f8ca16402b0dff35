"""The whole report on real models, run for real."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from compactmtl.compiler import compress
from compactmtl.data import DATASETS
from compactmtl.errors import CorruptFileError, DataError, UnsafeFileError, UsageError, WriteError
from compactmtl.files import sha256, write_json
from compactmtl.report import report
from compactmtl.report.collect import collect
from compactmtl.report.predictions import predict

SIZE = {"num_images": 15, "height": 32, "width": 32}  # three images to validate on
TASKS = DATASETS["rooms"].declared_tasks()
SPECS = {name: task.spec() for name, task in TASKS.items()}
OWN_CODE = """
import torch
from compactmtl.data.rooms import Rooms
from compactmtl.multitask import KINDS

class OwnDepth(KINDS["depth"]):
    kind = "own-depth"

class OwnData(Rooms):
    pass
"""


class Net(nn.Module):
    """A network for rooms in which every second channel is dead."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.Conv2d(3, 8, 3, padding=1)
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(8, task.num_channels, 1) for name, task in TASKS.items()}
        )
        with torch.no_grad():
            for head in self.heads.values():
                head.weight[:, ::2] = 0

    def forward(self, image):
        features = self.encoder(image).relu()
        return {name: head(features) for name, head in self.heads.items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Compile a small network with half of its channels zero; return the folder of both models."""
    folder = tmp_path_factory.mktemp("models")
    write_models(folder, Net(seed=0), SPECS)
    return folder


def write_models(folder, net, specs):
    compact = compress(net.eval(), torch.rand(2, 3, 32, 32), tasks=specs)
    compact.save(folder / "model.pt2")
    compact.save(folder / "dense.pt2", which="dense")
    write_json(folder / "compress.json", compact.report.to_dict())


@pytest.fixture
def folder(models, tmp_path, make, monkeypatch):
    """Return a compact folder with its run."""
    monkeypatch.setenv("COMPACTMTL_CACHE", str(models / "cache"))
    document = make.recipe_document()
    document["data"]["args"] = SIZE
    run = make.write_run(tmp_path / "runs" / "rooms-demo-1", document)
    folder = tmp_path / "compact"
    folder.mkdir()
    for name in ("model.pt2", "dense.pt2"):
        (folder / name).write_bytes((models / name).read_bytes())
    write_source(models, folder, run)
    return folder


def write_source(models, folder, run):
    source = {"file": "ckpt.pt", "sha256": sha256(run / "ckpt.pt"), "run": f"../runs/{run.name}"}
    body = json.loads((models / "compress.json").read_text())
    write_json(folder / "report.json", {"format_version": 1, "source": source, **body})


def test_the_page_is_written_with_pictures_and_metrics_of_the_validation_split(folder):
    page = report(folder)
    assert page == folder / "report.html"
    text = page.read_text(encoding="utf-8")
    assert "Validation split of rooms, 3 of 3 images." in text
    for task in ("seg", "depth", "normals"):
        assert f"image 0: {task}, truth" in text
        assert f"image 2: {task}, compact" in text


def test_metrics_and_pictures_of_dense_and_compact_agree(folder):
    shown = predict(collect(folder))
    assert shown.num_images == 3
    assert shown.metrics["dense"].keys() == {"seg", "depth", "normals"}
    for task, values in shown.metrics["dense"].items():
        assert shown.metrics["compact"][task] == pytest.approx(values, rel=1e-3)
    assert max(shown.differences.values()) < 1e-4  # float32 rounding through 20 layers
    for sample in shown.samples:
        for pictures in sample.pictures.values():
            assert pictures["truth"].shape == sample.image.shape == (32, 32, 3)
            changed = (pictures["dense"] != pictures["compact"]).any(axis=-1)
            assert changed.mean() < 0.01


def test_a_part_alone_says_why_nothing_is_drawn(folder):
    compact = compress(Net(seed=0).eval(), torch.rand(2, 3, 32, 32), part="encoder")
    compact.save(folder / "model.pt2")
    (note,) = predict(collect(folder)).notes
    assert "encoder alone was compiled" in note


def test_another_dense_model_is_seen_as_different(folder):
    other = compress(Net(seed=1).eval(), torch.rand(2, 3, 32, 32))
    other.save(folder / "dense.pt2", which="dense")
    assert max(predict(collect(folder)).differences.values()) > 0.01


def test_out_names_another_file(folder, tmp_path):
    assert report(folder, out=tmp_path / "deep" / "page.html").is_file()
    assert not (folder / "report.html").exists()


def test_without_a_run_stored_inputs_are_drawn_without_truth(folder):
    source = {"file": "weights.pt", "sha256": None, "run": ""}
    document = json.loads((folder / "report.json").read_text())
    write_json(folder / "report.json", {**document, "source": source})
    images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
    np.savez(folder / "inputs.npz", image=images, source=np.array("seeded noise"))
    shown = predict(collect(folder))
    assert "seeded noise" in shown.source
    assert len(shown.samples) == 4
    assert not shown.metrics
    assert all("truth" not in p for s in shown.samples for p in s.pictures.values())
    assert "no labels" in report(folder).read_text()


def test_data_that_is_not_here_is_said_and_a_folder_that_is_wrong_is_an_error(
    folder, models, tmp_path, make, monkeypatch
):
    monkeypatch.delenv("COMPACTMTL_DATA", raising=False)
    document = make.recipe_document(data="nuclei_128")
    document["data"]["args"] = {}
    run = make.write_run(tmp_path / "runs" / "nuclei-1", document)
    write_source(models, folder, run)
    shown = predict(collect(folder))
    assert "not at hand" in shown.notes[0]
    with pytest.raises(DataError):
        predict(collect(folder), data=tmp_path / "nowhere")


def test_a_data_folder_for_a_data_set_that_takes_none_is_an_error(folder, tmp_path):
    with pytest.raises(UsageError, match="takes no folder"):
        report(folder, data=tmp_path)


def test_own_code_is_imported_only_for_a_run_that_is_named(
    folder, models, tmp_path, make, monkeypatch
):
    (tmp_path / "own_code_of_report.py").write_text(OWN_CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    specs = {**SPECS, "depth": {**SPECS["depth"], "kind": "own-depth"}}
    write_models(folder, Net(seed=0), specs)
    document = make.recipe_document(data="own_code_of_report:OwnData")
    document["data"]["args"] = SIZE
    document["tasks"]["depth"] = {"kind": "own_code_of_report:OwnDepth"}
    run = make.write_run(tmp_path / "runs" / "own-1", document)
    write_source(models, folder, run)
    shown = predict(collect(folder))
    assert "own_code_of_report" not in sys.modules
    assert list(shown.tasks) == ["seg", "normals"]
    assert len(shown.notes) == 3
    assert all("--run" in note for note in shown.notes[:2])
    named = predict(collect(folder, run=run))
    assert "own_code_of_report" in sys.modules
    assert named.num_images == 3
    assert named.tasks["depth"].kind == "own-depth"
    assert not named.notes


def test_an_unwritable_target_keeps_the_earlier_page(folder, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("earlier")
    with pytest.raises(WriteError):
        report(folder, out=blocker / "page.html")
    assert blocker.read_text() == "earlier"


def test_a_model_that_is_no_model_is_refused(folder):
    (folder / "model.pt2").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises((CorruptFileError, UnsafeFileError)):
        report(folder)
