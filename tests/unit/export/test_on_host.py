"""Engines built over ssh: really built, by TensorRT-RTX, on a board that is this machine."""

import json

import pytest

from compactmtl.board.bindings import installed_version
from compactmtl.board.files import sha256 as sha256_of
from compactmtl.board.recipe import BuildRecipe
from compactmtl.errors import (
    CorruptFileError,
    ExportError,
    MissingExtraError,
    NotPossibleHereError,
)
from compactmtl.export.base import make_job
from compactmtl.export.on_host import build_on_host
from compactmtl.export.onnx import OnnxExporter
from compactmtl.export.sidecar import Parent, read_sidecar
from compactmtl.files import sha256
from compactmtl.remote.ssh import Host

HOST = Host("board")
PARENT = Parent(file="model.pt2", sha256="0" * 64)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, program, interface, stored):
    path = tmp_path_factory.mktemp("on_host") / "model.trt.onnx"
    job = make_job(program, interface, path, stored=stored, parent=PARENT, which="compact")
    OnnxExporter("tensorrt").export(job)
    return path


@pytest.fixture
def source(exported, tmp_path):
    folder = tmp_path / "compact"
    folder.mkdir()
    for path in (exported, exported.with_name("model.trt.onnx.json")):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / exported.name


@pytest.mark.skipif(installed_version("rtx") is None, reason="TensorRT-RTX is not installed")
def test_an_engine_is_built_there_and_comes_back(board, source):
    path = source.with_name("model.rtx.engine")
    sidecar = build_on_host(HOST, source, path, BuildRecipe(batch=(1, 2, 4)), flavour="rtx")
    assert sidecar == read_sidecar(path)
    assert sidecar.sha256 == sha256(path)
    assert sidecar.parent.sha256 == sha256(source)
    assert sidecar.verified.status == "built only"
    assert path.read_bytes()[:4] == b"vtrt"
    assert list(board.home.iterdir()) == []


def test_a_board_without_tensorrt_says_so(board, source):
    before = set(source.parent.iterdir())
    with pytest.raises(MissingExtraError, match="on `board`: TensorRT is not installed"):
        build_on_host(HOST, source, source.with_name("model.engine"), BuildRecipe())
    assert set(source.parent.iterdir()) == before
    assert list(board.home.iterdir()) == []


def test_a_board_without_python_says_so(board, source):
    (board.programs / "python3").unlink()
    (board.programs / "python3").write_text("#!/bin/sh\necho 'python3: gone' >&2; exit 127\n")
    (board.programs / "python3").chmod(0o755)
    with pytest.raises(NotPossibleHereError, match=r"exit code 127\): python3: gone"):
        build_on_host(HOST, source, source.with_name("model.engine"), BuildRecipe())


def described(**changes):
    """Return a sidecar as the builder writes it, of another engine of another file."""
    return {
        "artefact": "model.engine",
        "kind": "tensorrt",
        "which": "compact",
        "size_bytes": 5,
        "parent": {"file": "model.trt.onnx", "sha256": "1" * 64},
        "opset": 20,
        "inputs": [],
        "outputs": [],
        "verified": {"status": "built only", "runtime": "r", "per_task": {}, "cases": []},
        "versions": {},
    } | changes


def fake_builder(board, script):
    """Put a program in the builder's place."""
    (board.programs / "python3").unlink()
    (board.programs / "python3").write_text(f"#!/bin/sh\n{script}\n")
    (board.programs / "python3").chmod(0o755)


def test_what_the_build_says_is_raised_as_our_own_error(board, source):
    fake_builder(board, "echo 'error: no such op' >&2; echo 'hint: none' >&2; exit 20")
    with pytest.raises(ExportError, match="on `board`: no such op") as error:
        build_on_host(HOST, source, source.with_name("model.engine"), BuildRecipe())
    assert error.value.hint == "none"


@pytest.mark.parametrize(
    ("sidecar", "words"),
    [
        (described(sha256="0" * 64), "an engine SHA-256"),
        (described(sha256=sha256_of(b"plan\n")), "an engine of SHA-256"),
        ({"sha256": "0" * 64, "parent": "x"}, "is not a sidecar"),
        ([], "is not a sidecar"),
        (None, "is not a sidecar"),
    ],
)
def test_what_comes_back_changed_is_refused(board, source, sidecar, words):
    text = "{" if sidecar is None else json.dumps(sidecar)
    fake_builder(board, f"echo {{}}; echo plan > model.engine; echo '{text}' > model.engine.json")
    before = set(source.parent.iterdir())
    with pytest.raises(CorruptFileError, match=words):
        build_on_host(HOST, source, source.with_name("model.engine"), BuildRecipe())
    assert set(source.parent.iterdir()) == before


def test_a_file_that_changes_on_its_way_is_refused(board, source):
    script = f'/usr/bin/tar "$@" && if [ "$1" = -xf ]; then echo x >> "$4/{source.name}"; fi'
    (board.programs / "tar").write_text(f"#!/bin/sh\n{script}\n")
    (board.programs / "tar").chmod(0o755)
    with pytest.raises(CorruptFileError, match="did not arrive as it was sent"):
        build_on_host(HOST, source, source.with_name("model.engine"), BuildRecipe())
    assert list(board.home.iterdir()) == []
