"""What every export target must do: each one in ``TARGETS`` is put through the same contract."""

import copy
import shutil
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from two_tasks import TwoTasks

from compactmtl.compiler import compress
from compactmtl.errors import (
    CorruptFileError,
    ExportError,
    MissingExtraError,
    MissingFileError,
    NotPossibleHereError,
    UsageError,
)
from compactmtl.export import TARGETS, export, find_target
from compactmtl.export import write as writing
from compactmtl.export.base import Evidence, make_job
from compactmtl.export.options import ONNX_OPTIONS, PRECISIONS, Options
from compactmtl.export.reference import Reference
from compactmtl.export.sidecar import read_sidecar
from compactmtl.files import fingerprint, sha256
from compactmtl.lineage import read_lineage

ROOT = Path(__file__).parents[2]
TASKS = ("seg", "depth")
OTHER = {
    "opset": 18,
    "simplify": True,
    "precision": "fp16",
    "calibration": object(),
    "max_drop": {"seg": 0.01},
    "batch": (1, 2, 4),
    "size": ((16, 24), (16, 24), (16, 24)),
    "workspace_bytes": 2**20,
    "compute_capabilities": ("8.9",),
    "version_compatible": True,
    "hardware_compatible": True,
    "host": "user@board",
}
"""For each option a value that is not its default."""


@pytest.fixture(scope="module")
def compact(tmp_path_factory):
    """A folder as ``compress`` writes it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("compact")
    compress(TwoTasks().eval(), torch.rand(2, 3, 16, 24)).save(folder / "model.pt2")
    images = np.random.default_rng(0).random((8, 3, 16, 24), dtype=np.float32)
    np.savez(folder / "inputs.npz", image=images, source="rooms, val")
    return folder


@pytest.fixture(scope="module", params=TARGETS)
def target(request):
    return find_target(request.param)


@pytest.fixture(scope="module")
def written(target, compact, tmp_path_factory):
    """A folder into which the target has written, and what it returned."""
    if target.availability().version is None:
        pytest.skip(f"{target.target}: {target.availability().why_not}")
    folder = tmp_path_factory.mktemp(target.target) / "compact"
    shutil.copytree(compact, folder)
    path = folder / target.file_name("compact", "fp32")
    return path, export(folder, path, target=target.target)


def test_it_says_what_it_is(target):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert find_target(target.target) is not target
    assert target.suffix.startswith(".")
    assert target.extra is None or target.extra in extras
    assert set(target.precisions) <= set(PRECISIONS)
    assert target.evidence in get_args(Evidence)
    assert target.takes <= {each.name for each in fields(Options)}
    assert target.dialect is None or target.takes >= ONNX_OPTIONS
    assert "precision" in target.takes or len(target.precisions) == 1


def test_it_says_what_it_can_do_here(target):
    here = target.availability()
    assert here.why_not or (here.version and here.runs_here)
    assert not (here.runs_here and here.version is None)


def test_the_artefact_lies_beside_its_sidecar(target, written):
    path, sidecar = written
    assert read_sidecar(path) == sidecar
    assert (sidecar.artefact, sidecar.kind) == (path.name, target.target)
    assert sidecar.sha256 == fingerprint(path)
    files = [path, *(path.with_name(name) for name in sidecar.parts)]
    files += [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else []
    assert sidecar.size_bytes == sum(file.stat().st_size for file in files if file.is_file())
    assert sidecar.parts == {name: sha256(path.with_name(name)) for name in sidecar.parts}
    assert [each.name for each in sidecar.inputs] == ["image"]
    assert [each.name for each in sidecar.outputs] == list(TASKS)
    assert sidecar.precision == "fp32"
    assert all(sidecar.versions.values())


def test_it_descends_from_the_model(written):
    path, _ = written
    lineage = read_lineage(path.parent)
    assert path.name in [artefact.path.name for artefact in lineage.artefacts]
    assert not set(lineage.strangers) & {path.name}


def test_nothing_unfinished_is_left(written):
    assert [file.name for file in written[0].parent.iterdir() if file.name.startswith(".")] == []


def test_it_was_run_where_it_can_run_and_else_says_that_it_was_not(target, written):
    path, sidecar = written
    if not target.availability().runs_here:
        assert (sidecar.verified.status, sidecar.verified.per_task) == ("built only", {})
        assert target.evidence != "run on hardware"
        with pytest.raises(NotPossibleHereError):
            target.load(path)
        return
    assert sidecar.verified.status == "ran"
    assert set(sidecar.verified.per_task) == set(TASKS)
    with np.load(path.with_name("reference.npz"), allow_pickle=False) as reference:
        outputs = target.load(path)({"image": reference["input.image"]})
        for task in TASKS:
            np.testing.assert_allclose(outputs[task], reference[f"output.{task}"], atol=5e-6)


def test_what_computes_something_else_is_not_written(target, written, tmp_path, monkeypatch):
    if target.dialect is None and not target.availability().runs_here:
        pytest.skip(f"{target.target} runs on no such machine, nor does what it is built from")
    folder = tmp_path / "compact"
    shutil.copytree(written[0].parent, folder)
    before = {file.name: fingerprint(file) for file in folder.iterdir()}

    def misled(*args, **kwargs):
        job = make_job(*args, **kwargs)
        other = copy.deepcopy(job.program)
        for tensor in other.state_dict.values():
            tensor.data.mul_(1.5)
        return replace(job, check=replace(job.check, reference=Reference(other)))

    monkeypatch.setattr(writing, "make_job", misled)
    with pytest.raises(ExportError, match="differs from torch"):
        export(folder, folder / written[0].name, target=target.target)
    assert {file.name: fingerprint(file) for file in folder.iterdir()} == before


def test_a_kill_while_it_is_written_leaves_what_was_there(target, written, tmp_path, monkeypatch):
    folder = tmp_path / "compact"
    shutil.copytree(written[0].parent, folder)
    before = {file.name: fingerprint(file) for file in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _killed)
        with pytest.raises(KeyboardInterrupt):
            export(folder, folder / written[0].name, target=target.target)
    assert {file.name: fingerprint(file) for file in folder.iterdir()} == before


def _killed(self, target):
    raise KeyboardInterrupt


def test_what_is_no_artefact_is_refused_in_one_line(target, written, tmp_path):
    path = tmp_path / written[0].name
    with pytest.raises(MissingFileError):
        target.load(path)
    for part in written[1].parts:
        shutil.copy(written[0].with_name(part), tmp_path / part)
    path.write_bytes(b"no artefact of any runtime")
    shutil.copy(written[0].with_name(f"{path.name}.json"), tmp_path)
    with pytest.raises(CorruptFileError) as error:
        target.load(path)
    assert "\n" not in error.value.message


def test_an_option_it_does_not_take_is_refused_by_name(target, compact, tmp_path):
    path = tmp_path / target.file_name("compact", "fp32")
    assert OTHER.keys() == {each.name for each in fields(Options)}
    for name in OTHER.keys() - target.takes:
        with pytest.raises(UsageError, match=f"takes no `{name}`"):
            export(compact, path, target=target.target, options=Options(**{name: OTHER[name]}))
    assert list(tmp_path.iterdir()) == []


def test_where_its_runtime_is_missing_it_names_the_extra_or_prepares(target, compact, tmp_path):
    if target.availability().version is not None:
        pytest.skip(f"{target.target} is installed")
    path = tmp_path / target.file_name("compact", "fp32")
    if target.target != "tensorrt":  # nothing but a board has its runtime
        with pytest.raises(MissingExtraError) as error:
            export(compact, path, target=target.target)
        way = (
            f"compactmtl[{target.extra}]" if target.extra else f"--target {target.target} --install"
        )
        assert way in error.value.hint
        return
    sidecar = export(compact, path, target=target.target)
    assert sidecar.verified.status == "prepared"
    assert sidecar.sha256 == sha256(tmp_path / sidecar.artefact)
    assert not path.exists()
