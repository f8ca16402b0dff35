"""Without TensorRT: everything a board needs to build the engine, and no engine."""

import json
import shutil
from dataclasses import replace

import pytest

from compactmtl.errors import CorruptFileError, UsageError
from compactmtl.export import find_target
from compactmtl.export import tensorrt as tensorrt_target
from compactmtl.export.options import PRECISIONS, Options
from compactmtl.files import sha256


@pytest.fixture(autouse=True)
def _not_installed(monkeypatch):
    monkeypatch.setattr(tensorrt_target, "installed_version", lambda flavour: None)


@pytest.fixture
def make(engine_job, tmp_path):
    """The job in a folder of its own."""
    for name in ("model.trt.onnx", "model.trt.onnx.json"):
        shutil.copy(engine_job.source.with_name(name), tmp_path / name)

    def job(name="model.engine", **options):
        source = tmp_path / "model.trt.onnx"
        return replace(engine_job, source=source, path=tmp_path / name, options=Options(**options))

    return job


def test_what_is_prepared_is_not_called_built(make):
    job = make(batch=(1, 4, 16))
    sidecar = find_target("tensorrt").export(job)
    folder = job.path.parent
    assert (sidecar.verified.status, sidecar.verified.per_task) == ("prepared", {})
    assert (sidecar.artefact, sidecar.sha256) == ("tensorrt.json", sha256(folder / "tensorrt.json"))
    assert sidecar.parent.sha256 == sha256(job.source)
    assert sidecar.build["command"] == "python -m compactmtl.board build tensorrt.json"
    assert sidecar.build["profile"]["image"][1] == [4, 3, 16, 24]
    assert {path.name for path in folder.iterdir()} == {
        *("model.trt.onnx", "model.trt.onnx.json", "tensorrt.json")
    }
    entry = json.loads((folder / "tensorrt.json").read_text())["engines"]["model.engine"]
    assert entry["recipe"]["batch"] == [1, 4, 16]
    assert entry["sha256"] == sha256(job.source)


def test_engines_of_one_folder_share_the_recipe_and_stale_ones_go(make, tmp_path):
    exporter = find_target("tensorrt")
    exporter.export(make())
    exporter.export(make("dense.engine", version_compatible=True))
    engines = json.loads((tmp_path / "tensorrt.json").read_text())["engines"]
    assert {name: each["recipe"]["version_compatible"] for name, each in engines.items()} == {
        "model.engine": False,
        "dense.engine": True,
    }
    engines["dense.engine"]["sha256"] = "0" * 64  # as after another export of the dense twin
    document = {"format_version": 1, "engines": engines}
    (tmp_path / "tensorrt.json").write_text(json.dumps(document))
    exporter.export(make())
    assert list(json.loads((tmp_path / "tensorrt.json").read_text())["engines"]) == ["model.engine"]


def test_settings_that_cannot_be_are_refused_before_the_board_sees_them(make, tmp_path):
    with pytest.raises(UsageError, match=r"at most"):
        find_target("tensorrt").export(make(size=((10**5, 10**5),) * 3))
    (tmp_path / "tensorrt.json").write_text("[1]")
    with pytest.raises(CorruptFileError, match="holds a list, expected an object"):
        find_target("tensorrt").export(make())
    assert (tmp_path / "tensorrt.json").read_text() == "[1]"


def test_gpus_are_not_chosen_here(make):
    exporter = find_target("tensorrt")
    with pytest.raises(UsageError, match="takes no `compute_capabilities`"):
        Options(compute_capabilities=("8.7",)).check_taken("tensorrt", exporter.takes, PRECISIONS)
