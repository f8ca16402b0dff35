"""A whole Panoptic FPN as one artefact: exported, run without torch, scored, measured, drawn."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import squares
import torch
from PIL import Image

import compactmtl as cm
from compactmtl.bench.candidates import choose
from compactmtl.bench.parts_ms import parts_ms
from compactmtl.board.errors import DamagedError
from compactmtl.board.panoptic.parts import NAMES
from compactmtl.board.panoptic.session import PanopticSession
from compactmtl.compact_network import load_network
from compactmtl.compiler.network_folder import write_network
from compactmtl.errors import ExportError
from compactmtl.evaluation.subjects import open_subjects
from compactmtl.export import export, panoptic
from compactmtl.models import MODELS

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "deploy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    tasks = squares.tasks()
    model = MODELS["panoptic_fpn"]({"instances": 1, "semantic": 2, "panoptic": 1}, **squares.TINY)
    data = squares.Squares(2, empty_first=False)
    images = [data[index][0].unsqueeze(0) for index in range(2)]
    specs = {name: task.spec() for name, task in tasks.items()}
    compact = cm.compress(model.eval(), images[0], images=images, tasks=specs)
    place = tmp_path_factory.mktemp("network") / "compact"
    write_network(compact, place, images=images, origin="squares")
    for part in compact.parts:
        for which, stem in (("compact", "model"), ("dense", "dense")):
            export(place / part, place / part / f"{stem}.onnx", which=which)
    for which in ("dense", "compact"):
        panoptic.write_panoptic(place, which)
    return place


def test_the_artefact_finds_what_torch_finds(folder):
    network = load_network(folder)
    session = PanopticSession(folder / "model.panoptic", threads=1)
    image = torch.rand(1, 3, 45, 70, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        want = network.module(image)
    got = session({"image": image.numpy()})
    things = want["instances"][0]
    assert len(got["scores"]) == len(things["scores"]) > 0
    np.testing.assert_allclose(got["boxes"], things["boxes"].numpy(), atol=1e-3)
    assert (got["masks"] != things["masks"].numpy()).mean() < 1e-3
    assert (got["panoptic"] != want["panoptic"].numpy()).mean() < 1e-3
    assert set(session.times_ms) == {*NAMES, "between"}


def test_what_is_not_the_network_is_refused(folder, monkeypatch):
    document = json.loads((folder / "model.panoptic").read_text())
    wrong = folder / "wrong.panoptic"
    for change, message in (
        ({"parts": {}}, "does not name its parts"),
        ({"format_version": 9}, "format version 9"),
    ):
        wrong.write_text(json.dumps({**document, **change}))
        with pytest.raises(DamagedError, match=message):
            PanopticSession(wrong, threads=1)
    for file, message in (
        ("../x/model.onnx", "outside its folder"),
        ("boxes/dense.onnx", "is not"),
    ):
        parts = {**document["parts"], "boxes": {**document["parts"]["boxes"], "file": file}}
        wrong.write_text(json.dumps({**document, "parts": parts}))
        with pytest.raises(DamagedError, match=message):
            PanopticSession(wrong, threads=1)
    wrong.unlink()
    # A wrong post-processing is seen before anything is written.
    before = (folder / "model.panoptic.json").read_bytes()
    monkeypatch.setattr("compactmtl.board.panoptic.pipeline.BOX_WEIGHTS", (1.0, 1.0, 1.0, 1.0))
    with pytest.raises(ExportError, match="nothing was written"):
        panoptic.write_panoptic(folder, "compact")
    assert (folder / "model.panoptic.json").read_bytes() == before


def test_it_is_scored_and_measured_as_one(folder):
    with open_subjects([folder], threads=1) as (subjects, left_out):
        assert left_out == {}
        assert [each.which for each in subjects.values()] == ["dense", "compact"] * 2
        image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
        maps = [each.predict(image)["panoptic"] for each in subjects.values()]
    for other in maps[1:]:
        assert (other != maps[0]).float().mean() < 1e-2
    chosen = choose(folder)
    assert list(chosen.files) == ["dense.panoptic", "compact.panoptic"]
    times = parts_ms(chosen.files["compact.panoptic"], {"image": image[:1].numpy()})
    assert min(times.values()) > 0


def test_the_example_draws_it(folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    command = [sys.executable, "panoptic_on_onnxruntime.py", folder / "model.panoptic"]
    done = subprocess.run(
        [*command, tmp_path / "image.png", "--out", tmp_path],
        cwd=EXAMPLES, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "panoptic.png") as picture:
        assert picture.size == (96, 64)
    assert "segments" in done.stdout
