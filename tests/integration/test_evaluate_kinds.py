"""`compactmtl evaluate` runs every kind of file that can run here, and says what cannot and why."""

import json
import shutil

import pytest
import torch
from two_tasks import TwoTasks

from compactmtl.compiler import compress
from compactmtl.errors import MissingExtraError, NotPossibleHereError
from compactmtl.evaluation.subjects import open_subjects
from compactmtl.export import export, find_target
from compactmtl.files import sha256

IMAGES = torch.rand(5, 3, 16, 24, generator=torch.Generator().manual_seed(0))
RUN_HERE = ("openvino", "pt2")  # ONNX files: test_evaluate_cli.py
ENGINE = "model.rtx.engine"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("compact")
    compress(TwoTasks().eval(), torch.rand(2, 3, 16, 24)).save(folder / "model.pt2")
    for name in RUN_HERE:
        target = find_target(name)
        if target.availability().version is not None:
            export(folder, folder / target.file_name("compact", "fp32"), target=name)
    # Of an engine, no more than its beginning is looked at where there is no GPU.
    engine = folder / ENGINE
    engine.write_bytes(b"vtrt" + bytes(20) + bytes([1, 7, 1, 116]) + bytes(100))
    document = json.loads((folder / "model.exported.pt2.json").read_text())
    document |= {"artefact": ENGINE, "kind": "tensorrt-rtx", "sha256": sha256(engine)}
    (folder / f"{ENGINE}.json").write_text(json.dumps(document))
    return folder


def test_every_file_of_a_folder_computes_the_same_and_engines_are_left_out(folder):
    with open_subjects([folder], threads=1) as (subjects, left_out):
        wanted = {"model.pt2"} | {
            find_target(name).file_name("compact", "fp32")
            for name in RUN_HERE
            if find_target(name).availability().version is not None
        }
        assert wanted <= set(subjects)
        assert torch.cuda.is_available() or set(left_out) == {ENGINE}
        assert all("no NVIDIA GPU answers here" in why for why in left_out.values())
        want = subjects["model.pt2"].predict(IMAGES)
        for name, subject in subjects.items():
            got = subject.predict(IMAGES)
            for task, value in want.items():
                torch.testing.assert_close(got[task], value, rtol=0, atol=1e-5, msg=name)


def test_an_engine_that_is_named_is_refused_without_a_gpu(folder):
    path = folder / ENGINE
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    with (
        pytest.raises(NotPossibleHereError, match="no NVIDIA GPU answers here"),
        open_subjects([path], threads=1),
    ):
        pass


@pytest.mark.parametrize("suffix", [".tflite", ".pte"])
def test_a_file_whose_environment_is_missing_names_the_command(tmp_path, suffix, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"not looked at")
    with pytest.raises(MissingExtraError) as error, open_subjects([path], threads=1):
        pass
    assert "--install" in error.value.hint


def test_a_core_ml_package_is_refused_in_words(tmp_path):
    package = tmp_path / "model.mlpackage"
    package.mkdir()
    (tmp_path / "model.mlpackage.json").write_text("{}")
    with (
        pytest.raises(NotPossibleHereError, match="runs on macOS and iOS only"),
        open_subjects([package], threads=1),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("name", ["litert", "executorch"])
def test_files_that_run_in_another_python_compute_the_same(folder, tmp_path, name):
    target = find_target(name)
    if not target.environment.is_complete:
        pytest.skip(f"needs an environment: {target.environment.describe()}")
    copy = shutil.copytree(folder, tmp_path / "compact")
    export(copy, copy / target.file_name("compact", "fp32"), target=name)
    with open_subjects([copy], threads=1) as (subjects, _):
        file = target.file_name("compact", "fp32")
        got, want = (subjects[each].predict(IMAGES) for each in (file, "model.pt2"))
        for task, value in want.items():
            torch.testing.assert_close(got[task], value, rtol=0, atol=1e-5)
