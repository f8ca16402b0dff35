"""`compactmtl evaluate --host`: files run on a board that is this machine, and are scored here."""

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
    BenchError,
    CorruptFileError,
    DiskFullError,
    MissingExtraError,
    NotPossibleHereError,
)
from compactmtl.evaluation.subjects import open_subjects
from compactmtl.export import export
from compactmtl.remote.ssh import Host

HOST = Host("board")
IMAGES = torch.rand(5, 3, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("compact")
    compress(TwoTasks().eval(), torch.rand(2, 3, 16, 24)).save(folder / "model.pt2")
    export(folder, folder / "model.onnx")
    return folder


def kept(board):
    """Return our folders on the board; runtimes keep things of their own there."""
    return list(board.home.glob("compactmtl.*"))


def put_in_path(board, name, script):
    path = board.programs / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_board_computes_what_this_machine_does_and_keeps_nothing(board, folder):
    with open_subjects([folder], threads=1, host=HOST) as (subjects, left_out):
        assert left_out == {}
        there, here = subjects["model.onnx"], subjects["model.pt2"]
        assert there.runtime.startswith("onnxruntime ")
        assert there.runtime.endswith(" on board")
        assert here.runtime == f"torch {torch.__version__}"
        for images in (IMAGES, IMAGES[:1]):
            got = there.predict(images)
            for task, want in here.predict(images).items():
                torch.testing.assert_close(got[task], want, rtol=0, atol=1e-5)
        assert len(kept(board)) == 1
    assert kept(board) == []


def test_a_planted_error_shows(board, folder, tmp_path):
    model = onnx.load(folder / "model.onnx")
    weight = model.graph.initializer[0]
    array = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(array + np.float32(0.3), weight.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    files = [tmp_path / "wrong.onnx", folder / "model.onnx"]
    with open_subjects(files, threads=1, host=HOST) as (subjects, _):
        wrong, right = (subject.predict(IMAGES) for subject in subjects.values())
    assert any(float((wrong[task] - right[task]).abs().max()) > 0.01 for task in right)


def test_a_link_that_drops_is_one_line(board, folder):
    opened = open_subjects([folder / "model.onnx"], threads=1, host=HOST)
    with opened as (subjects, _):
        (subject,) = subjects.values()
        subject.predict(IMAGES)
        board.link.drop()
        with pytest.raises(NotPossibleHereError, match="`board` does not answer any more") as error:
            subject.predict(IMAGES)
        assert "\n" not in error.value.message


def test_a_runtime_that_dies_there_is_said(board, folder):
    put_in_path(board, "python3", "echo 'Illegal instruction' >&2; exit 132")
    with (
        pytest.raises(NotPossibleHereError, match=r"cannot run .*code 132\): Illegal instruction"),
        open_subjects([folder / "model.onnx"], threads=1, host=HOST),
    ):
        pass
    assert kept(board) == []


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("echo 'error: no runtime' >&2; echo 'hint: get one' >&2; exit 4", MissingExtraError,
         "on `board`: no runtime"),
        ("echo 'error: it fails' >&2; exit 21", BenchError, "on `board`: it fails"),
        ("head -c 3 /dev/zero", CorruptFileError, "cut short"),
        ("echo 'Welcome! Today is Monday, and there is more to be read here.'; exec cat",
         CorruptFileError, "expected a message"),
        ("printf '\\0\\0\\0\\0\\0\\0\\0\\0'; printf x | sha256sum | head -c 32; exec cat",
         CorruptFileError, "changed on the way"),
        ("exit 0", NotPossibleHereError, "exit code 0"),
    ],
)  # fmt: skip
def test_what_a_board_says_instead_is_one_line(board, folder, script, kind, words):
    put_in_path(board, "python3", f"if test $4 = check; then echo '{{}}'; exit; fi; {script}")
    with (
        pytest.raises(kind, match=words) as error,
        open_subjects([folder / "model.onnx"], threads=1, host=HOST),
    ):
        pass
    assert "\n" not in error.value.message
    assert kept(board) == []


def test_a_full_disk_is_said(board, folder):
    put_in_path(board, "tar", "echo 'tar: x: Cannot write: No space left on device' >&2; exit 2")
    with (
        pytest.raises(DiskFullError, match="`board` has no room"),
        open_subjects([folder / "model.onnx"], threads=1, host=HOST),
    ):
        pass
    assert kept(board) == []


def test_of_a_folder_what_cannot_run_there_is_left_out_and_what_is_named_is_not(board, folder):
    put_in_path(board, "python3", "echo 'error: no runtime' >&2; exit 4")
    with open_subjects([folder], threads=1, host=HOST) as (subjects, left_out):
        assert set(subjects) == {"model.pt2"}
        assert left_out == {"model.onnx": "on `board`: no runtime"}
    with (
        pytest.raises(MissingExtraError),
        open_subjects([folder / "model.onnx"], threads=1, host=HOST),
    ):
        pass


DATA = """
import torch
from compactmtl.multitask import make_task

TASKS = {
    "seg": make_task("seg", "segmentation", {"num_classes": 5}),
    "depth": make_task("depth", "depth", {}),
}

class Data:
    def __init__(self, split):
        self.split = split

    @classmethod
    def declared_tasks(cls):
        return TASKS

    def __len__(self):
        return 5

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = torch.rand(3, 16, 24, generator=generator)
        seg = torch.randint(0, 5, (16, 24), generator=generator)
        return image, {"seg": seg, "depth": torch.rand(1, 16, 24, generator=generator) + 0.5}
"""


def test_the_command_records_where_each_ran(board, folder, tmp_path, capsys, monkeypatch):
    (tmp_path / "boarddata.py").write_text(DATA)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    capsys.readouterr()
    args = ["evaluate", str(folder), "--data", "boarddata:Data", "--host", "board", "--batch", "2"]
    assert run([*args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_images"] == 5
    assert found["subjects"]["model.onnx"]["runtime"].endswith(" on board")
    assert found["metrics"]["model.onnx"].keys() == {"seg", "depth"}
    assert found["left_out"] == {}
    sys.modules.pop("boarddata", None)
    assert run(["evaluate", str(folder), "--host", "-x"]) == 2
    assert "is no host" in capsys.readouterr().err
