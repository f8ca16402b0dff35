"""The whole path on real input, as a user types it: train to report."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from compactmtl.checkpoint import build_model, load_checkpoint
from compactmtl.cli.app import run
from compactmtl.compact import load_folder
from compactmtl.compiler.verify import FP32_FACTOR, FP32_FLOOR, FP64_TOLERANCE
from compactmtl.data import DATASETS
from compactmtl.files import sha256
from compactmtl.lineage import read_lineage

TASKS = ["seg", "depth", "normals"]
FILES = {
    *("model.pt2", "dense.pt2", "weights.safetensors", "inputs.npz"),
    *("plan.json", "report.json", "why.json"),
    *("model.onnx", "model.onnx.json", "dense.onnx", "dense.onnx.json", "reference.npz"),
    *("bench.json", "report.html"),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Go the path once; return its folder and the JSON document of every verb."""
    folder = tmp_path_factory.mktemp("path")
    documents = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COMPACTMTL_CACHE", str(folder / "cache"))
        for verb, *args in (
            ("train", "rooms-smoke", "--run-dir", "runs/smoke"),
            ("compress", "runs/smoke/ckpt.pt", "--prune-zero-channels"),
            ("export",),
            ("bench", "--seconds", "0.2", "--rounds", "5"),
            ("report",),
            ("inspect", "compact"),
        ):
            documents[verb] = json.loads(_stdout(verb, *args, "--json"))
    return folder, documents


def _stdout(*args: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert run(args) == 0
    return out.getvalue()


@pytest.fixture
def compact(path, monkeypatch) -> Path:
    monkeypatch.chdir(path[0])
    monkeypatch.setenv("COMPACTMTL_CACHE", str(path[0] / "cache"))
    return path[0] / "compact"


def document(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def test_every_artefact_of_the_path_is_there(compact, path) -> None:
    assert {file.name for file in compact.iterdir()} == FILES
    documents = path[1]
    assert documents["train"]["checkpoint"] == "runs/smoke/ckpt.pt"
    report = document(compact / "report.json")
    assert documents["compress"] == {"folder": "compact", **report}
    assert [entry["artefact"] for entry in documents["export"]["artefacts"]] == [
        *("model.onnx", "dense.onnx")
    ]
    assert documents["bench"] == document(compact / "bench.json")
    assert documents["report"]["size_bytes"] == (compact / "report.html").stat().st_size
    assert documents["inspect"]["totals"]["num_params"] == report["after"]["num_params"]


def test_each_artefact_names_the_bytes_it_was_made_from(compact) -> None:
    checkpoint = compact.parent / "runs/smoke/ckpt.pt"
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["recipe"]["name"] == "rooms-smoke"
    model = load_folder(compact)
    assert model.manifest.recipe == saved["recipe"]
    assert model.manifest.parent == {"file": "ckpt.pt", "sha256": sha256(checkpoint)}
    report = document(compact / "report.json")
    assert report["source"] == {**model.manifest.parent, "run": "../runs/smoke"}
    assert report["model"] == {"file": "model.pt2", "sha256": sha256(compact / "model.pt2")}
    for stem in ("model", "dense"):
        sidecar = document(compact / f"{stem}.onnx.json")
        assert sidecar["sha256"] == sha256(compact / f"{stem}.onnx")
    assert document(compact / "model.onnx.json")["parent"]["sha256"] == report["model"]["sha256"]
    bench = document(compact / "bench.json")["candidates"]
    assert bench["dense"]["sha256"] == sha256(compact / "dense.onnx")
    assert bench["compact"]["sha256"] == sha256(compact / "model.onnx")
    lineage = read_lineage(compact)
    assert [artefact.path.name for artefact in lineage.artefacts] == ["dense.onnx", "model.onnx"]
    assert not lineage.strangers


def test_compact_and_sparse_give_the_same_outputs_on_validation_images(compact) -> None:
    checkpoint = load_checkpoint(compact.parent / "runs/smoke/ckpt.pt")
    sparse = build_model(checkpoint).eval()
    model = load_folder(compact).module
    args = checkpoint.recipe["data"]["args"]
    images = [DATASETS["rooms"]("val", **args)[i][0] for i in range(4)]
    batch = torch.stack(images)
    with torch.no_grad():
        single, small = sparse(batch), model(batch)
        reference = sparse.double()(batch.double())
    assert list(small) == list(reference) == TASKS
    for task, exact in reference.items():
        scale = exact.abs().max()
        own = ((single[task].double() - exact).abs().max() / scale).item()
        error = ((small[task].double() - exact).abs().max() / scale).item()
        # A pool's choice may hang on rounding; where it does, own error and this one jump alike.
        assert error <= FP32_FACTOR * max(own, FP32_FLOOR), task
    check = document(compact / "report.json")["verification"]
    assert check["num_inputs"] == 2 + min(8, len(DATASETS["rooms"]("val", **args)))
    for output in check["outputs"].values():
        assert output["fp64_error"] <= FP64_TOLERANCE
        assert output["fp32_error"] <= FP32_FACTOR * output["fp32_error_of_original"] + FP32_FLOOR


def test_onnx_files_have_the_names_and_a_free_batch(compact) -> None:
    for stem in ("model", "dense"):
        graph = onnx.load(compact / f"{stem}.onnx").graph
        assert [value.name for value in graph.input] == ["image"]
        assert [value.name for value in graph.output] == TASKS
        dims = graph.input[0].type.tensor_type.shape.dim
        assert [dim.dim_param for dim in dims][::2][:1] == ["batch"]
        assert dims[1].dim_value == 3
        assert all(v.type.tensor_type.shape.dim[0].dim_param == "batch" for v in graph.output)
    with np.load(compact / "inputs.npz") as stored:
        assert stored["image"].shape[1:] == (3, 32, 48)
        assert "validation images of rooms" in str(stored["source"])


def test_bench_and_report_show_both_models(compact) -> None:
    bench = document(compact / "bench.json")
    report = document(compact / "report.json")
    for name, cost in (("dense", "before"), ("compact", "after")):
        candidate = bench["candidates"][name]
        assert candidate["macs"] == report[cost]["macs"]
        assert candidate["cpu_ms"]["p50"] > 0
    assert bench["ratios"]["dense/compact"]["cpu"] > 0
    assert bench["verdict"] in ("ok", "noisy")
    page = (compact / "report.html").read_text(encoding="utf-8")
    assert all(task in page for task in TASKS)
    assert "rooms-smoke" in page
    assert page.count("data:image/") >= 4 * len(TASKS)  # image, truth, dense, compact
    assert 'src="http' not in page


def test_other_settings_keep_artefacts_but_name_them_as_stale(compact, tmp_path, monkeypatch):
    copy = tmp_path / "compact"
    shutil.copytree(compact, copy)
    source = str(compact.parent / "runs/smoke/ckpt.pt")
    monkeypatch.chdir(tmp_path)
    assert run(["compress", source, "--static", "--quiet"]) == 0
    assert {file.name for file in copy.iterdir()} == FILES
    assert not (tmp_path / "compact.previous").exists()
    lineage = read_lineage(copy)
    assert not lineage.artefacts
    assert sorted(lineage.strangers) == ["dense.onnx", "model.onnx"]
    assert "was made from another model.pt2" in lineage.strangers["model.onnx"]

    other = torch.load(source, weights_only=True)
    other["epoch"] += 1
    torch.save(other, tmp_path / "other.pt")
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    assert run(["compress", "other.pt", "--static", "--prune-zero-channels", "--quiet"]) == 0
    previous = tmp_path / "compact.previous"
    assert {file.name: file.read_bytes() for file in previous.iterdir()} == before
    assert not list(copy.glob("*.onnx"))
