"""The way to a worker and back, with a converter that copies; real ones are in the slow tests."""

import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compactmtl.board.tensors import InputInfo
from compactmtl.environment import version
from compactmtl.errors import (
    ExportError,
    MissingExtraError,
    MissingFileError,
    NotPossibleHereError,
)
from compactmtl.export import TARGETS, find_target, worker, worker_target
from compactmtl.export.base import make_job
from compactmtl.export.cases import random_inputs
from compactmtl.export.environments import Environment
from compactmtl.export.sidecar import Parent, read_sidecar
from compactmtl.export.worker_target import WorkerExporter

PARENT = Parent(file="model.pt2", sha256="0" * 64)
HEAVY = ("litert", "executorch", "coreml")


class Here(Environment):
    """The environment of these tests: this very Python."""

    python = property(lambda self: sys.executable)
    is_complete = True


class Program:
    """A session of the copied program, which has no names."""

    def __init__(self, path):
        self.module = torch.export.load(path).module()
        self.inputs = (InputInfo("args_0", (1, 3, 48, 64), "float32"),)

    def __call__(self, inputs):
        with torch.no_grad():
            values = self.module(*map(torch.from_numpy, inputs.values()))
        return {f"output_{index}": value.numpy() for index, value in enumerate(values)}

    def close(self):
        pass


class Copying(WorkerExporter):
    target = "copying"
    suffix = ".copy"
    evidence = "never run"
    environment = Here(target="copying", packages=("tool==1.0",), gigabytes=1, minutes=1)

    def open(self, path, *, threads=1):
        return Program(path)


class OnTheMoon(WorkerExporter):
    target, suffix, evidence = Copying.target, Copying.suffix, Copying.evidence
    environment = Copying.environment
    runs_on = "the moon"


SCRIPT = """
    import shutil
    import sys
    import time
    from pathlib import Path

    sys.path.append({place!r})  # behind the packages that modules there are called like
    import worker

    def convert(program, out, names):
        print("a converter talks", flush=True)
        {convert}

    worker.CONVERT["copying"] = convert
    worker.PACKAGES["copying"] = ("torch",)
    worker.main()
"""


@pytest.fixture
def converter(tmp_path, monkeypatch):
    """Replace the worker by one whose converter does what it is told."""

    def make(convert="shutil.copy(program, out)"):
        path = tmp_path / "fake_worker.py"
        place = str(Path(worker.__file__).parent)
        path.write_text(textwrap.dedent(SCRIPT.format(place=place, convert=convert)))
        monkeypatch.setattr(worker, "__file__", str(path))

    return make


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def job(program, interface, stored, out):
    path = out / "model.copy"
    return make_job(program, interface, path, stored=stored, parent=PARENT, which="compact")


def test_there_and_back(converter, job, out, network):
    converter()
    sidecar = Copying().export(job)
    assert {path.name for path in out.iterdir()} == {"model.copy", "model.copy.json"}
    assert read_sidecar(job.path) == sidecar
    assert sidecar.verified.status == "ran"
    assert sidecar.verified.runtime == f"torch {version('torch')}"
    assert len(sidecar.verified.cases) == 8
    assert sidecar.inputs[0].shape == [1, 3, 48, 64]
    assert [(o.name, o.shape) for o in sidecar.outputs] == [
        ("seg", [1, 5, 48, 64]),
        ("depth", [1, 1, 48, 64]),
    ]
    assert sidecar.verified.selections["num"] == 8 * (8 * 24 * 32 + 6 * 12 * 16)
    image = torch.rand(1, 3, 48, 64)
    got = Copying().load(job.path)({"image": image.numpy()})
    for value, want in zip(got.values(), network(image).values(), strict=True):
        np.testing.assert_allclose(value, want.detach().numpy(), atol=1e-6)


def test_what_cannot_run_here_is_built_only(converter, job):
    converter()
    sidecar = OnTheMoon().export(job)
    assert (sidecar.verified.status, sidecar.verified.per_task) == ("built only", {})
    assert sidecar.verified.runtime.endswith("runs on the moon only")
    with pytest.raises(NotPossibleHereError, match="the moon"):
        OnTheMoon().load(job.path)


WRONG = """import torch
        exported = torch.export.load(program)
        with torch.no_grad():
            next(v for k, v in exported.state_dict.items() if "depth.weight" in k)[0] += 1e-3
        torch.export.save(exported, out)
"""


@pytest.mark.parametrize(
    ("convert", "said"),
    [
        (
            "raise ValueError('no such\\\\noperation')",
            r"cannot convert the model: ValueError: no such",
        ),
        ("import os; print('last words', file=sys.stderr); os._exit(9)", "exit code 9: last words"),
        pytest.param(WRONG, r"`depth`.* differs from torch", marks=pytest.mark.slow),
    ],
    ids=["refuses", "dies", "errs"],
)
def test_a_converter_that_fails_leaves_nothing(converter, job, out, convert, said):
    converter(convert)
    with pytest.raises(ExportError, match=said) as error:
        Copying().export(job)
    assert "\n" not in error.value.message
    assert list(out.iterdir()) == []


class Overlapping(nn.Module):
    def forward(self, image):
        values, indices = F.max_pool2d(image, 3, stride=2, return_indices=True)
        return torch.ops.aten.max_unpool2d(values, indices, list(image.shape[-2:]))


def test_unpooling_that_it_does_not_take_is_named_before_anything_is_converted(
    converter, out, make_interface, capture_program
):
    converter("raise AssertionError('it was asked')")
    program = capture_program(Overlapping(), torch.rand(1, 3, 9, 9), dynamic=False)
    interface = make_interface(["image"], ["seg"])
    job = make_job(
        program, interface, out / "model.copy",
        stored=random_inputs(program, interface), parent=PARENT, which="compact",
    )  # fmt: skip
    with pytest.raises(ExportError, match=r"no max-unpooling whose windows .*`max_unpool2d"):
        Copying().export(job)
    assert not out.exists() or list(out.iterdir()) == []


def test_a_converter_that_hangs_is_stopped(converter, job, out, monkeypatch):
    converter("time.sleep(600)")
    monkeypatch.setattr(worker_target, "MAX_SECONDS", 1)
    started = time.monotonic()
    with pytest.raises(ExportError, match="took longer than 1 s"):
        Copying().export(job)
    assert time.monotonic() - started < 300
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("name", HEAVY)
def test_without_its_environment_a_target_names_the_command(name, job, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exporter = find_target(name)
    assert exporter.availability().version is None
    assert f"--target {name} --install" in exporter.availability().why_not
    with pytest.raises(MissingExtraError) as error:
        exporter.export(job)
    assert f"--target {name} --install" in error.value.hint
    with pytest.raises(MissingFileError):
        exporter.load(tmp_path / "none")


def test_every_worker_target_is_known_to_the_worker():
    made = {name: make() for name, make in TARGETS.items()}
    ours = {name for name, exporter in made.items() if isinstance(exporter, WorkerExporter)}
    assert ours == set(HEAVY) == set(worker.CONVERT) == set(worker.PACKAGES)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_the_real_converter(name, program, interface, stored, tmp_path):
    exporter = find_target(name)
    if not exporter.environment.is_complete:
        pytest.skip(f"needs an environment: {exporter.environment.describe()}")
    path = tmp_path / f"model{exporter.suffix}"
    job = make_job(program, interface, path, stored=stored, parent=PARENT, which="compact")
    sidecar = exporter.export(job)
    if exporter.runs_on:
        assert sidecar.verified.status == "built only"
        return
    assert sidecar.verified.status == "ran"
    assert sidecar.verified.selections["num"] > 0
    assert set(sidecar.verified.per_task) == {"seg", "depth"}


class Plain(torch.nn.Module):
    """An encoder with a shortcut, pooling, and two resized tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 16, 3, 2, 1)
        self.norm = torch.nn.BatchNorm2d(16)
        self.second = torch.nn.Conv2d(16, 16, 3, 1, 1)
        self.heads = torch.nn.ModuleDict(
            {"seg": torch.nn.Conv2d(16, 5, 1), "depth": torch.nn.Conv2d(16, 1, 1)}
        )

    def forward(self, image):
        x = torch.relu(self.norm(self.first(image)))
        x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
        x = torch.relu(x + self.second(x))
        size = image.shape[-2:]
        return {
            name: torch.nn.functional.interpolate(head(x), size, mode="bilinear")
            for name, head in self.heads.items()
        }


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_the_real_converter_on_a_plain_network(name, interface, stored, tmp_path, capture_program):
    exporter = find_target(name)
    if not exporter.environment.is_complete:
        pytest.skip(f"needs an environment: {exporter.environment.describe()}")
    torch.manual_seed(0)
    program = capture_program(Plain(), torch.rand(2, 3, 48, 64))
    path = tmp_path / f"model{exporter.suffix}"
    job = make_job(program, interface, path, stored=stored, parent=PARENT, which="compact")
    sidecar = exporter.export(job)
    assert sidecar.verified.status == ("built only" if exporter.runs_on else "ran")
    assert set(sidecar.verified.per_task) == (set() if exporter.runs_on else {"seg", "depth"})
    assert [output.name for output in sidecar.outputs] == ["seg", "depth"]
    assert path.exists()
    if not exporter.runs_on:
        image = torch.rand(1, 3, 48, 64)
        got = exporter.load(path)({"image": image.numpy()})
        for task, want in program.module()(image).items():
            np.testing.assert_allclose(got[task], want.detach().numpy(), atol=1e-5)
