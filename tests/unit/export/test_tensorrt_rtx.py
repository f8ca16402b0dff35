"""Real engines, built without a GPU."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from compactmtl.board.header import read_header
from compactmtl.errors import (
    CorruptFileError,
    ExportError,
    NotPossibleHereError,
    UsageError,
    WriteError,
)
from compactmtl.export import engine as engines
from compactmtl.export import find_target
from compactmtl.export.options import PRECISIONS, Options
from compactmtl.export.sidecar import read_sidecar
from compactmtl.files import sha256

pytest.importorskip("tensorrt_rtx", reason='pip install "compactmtl[rtx]"')


@pytest.fixture
def make(engine_job, tmp_path):
    """The job with an empty folder of its own."""

    def job(options=None):
        return replace(engine_job, path=tmp_path / "model.rtx.engine", options=options or Options())

    return job


@pytest.fixture
def engine(make):
    job = make()
    find_target("tensorrt-rtx").export(job)
    return job.path


def test_an_engine_lies_beside_its_sidecar_and_names_its_parent(make):
    job = make()
    sidecar = find_target("tensorrt-rtx").export(job)
    assert sidecar == read_sidecar(job.path)
    assert sidecar.sha256 == sha256(job.path)
    assert sidecar.parent == job.parent
    assert (sidecar.kind, sidecar.precision) == ("tensorrt-rtx", "fp32")
    assert (sidecar.verified.status, sidecar.verified.per_task) == ("built only", {})
    assert [each.name for each in sidecar.outputs] == ["seg", "depth"]
    assert sidecar.build["profile"] == {"image": [[1, 3, 16, 24], [1, 3, 16, 24], [8, 3, 16, 24]]}
    header = read_header(job.path)
    assert header.flavour == "rtx"
    assert sidecar.versions["tensorrt-rtx"] == ".".join(map(str, header.version))


def test_batch_size_and_gpus_are_those_asked_for(make):
    options = Options(
        batch=(1, 4, 16),
        size=((8, 8), (16, 24), (32, 32)),
        compute_capabilities=("8.6", "8.9", "12.0"),
    )
    build = find_target("tensorrt-rtx").export(make(options)).build
    assert build["profile"] == {"image": [[1, 3, 8, 8], [4, 3, 16, 24], [16, 3, 32, 32]]}
    assert build["compute_capabilities"] == ["8.6", "8.9", "12.0"]
    assert build["warnings"] == []


def test_a_gpu_it_cannot_build_for_is_refused_with_those_it_can(make):
    job = make(Options(compute_capabilities=("8.7",)))
    with pytest.raises(UsageError, match=r"capability 8\.7; it knows: 7\.5, 8\.0, 8\.6, 8\.9"):
        find_target("tensorrt-rtx").export(job)
    assert not job.path.exists()


def test_a_refused_operator_is_named_with_advice_and_leaves_nothing(make, tmp_path):
    job = make()
    graph = helper.make_graph(
        [helper.make_node("Det", ["image"], ["volume"], name="the_volume")],
        "refused",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("volume", TensorProto.FLOAT, [1, 3])],
    )
    source = tmp_path / "source" / "model.trt.onnx"
    source.parent.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), source)
    with pytest.raises(ExportError, match=r"1 node of `model\.trt\.onnx`: Det `the_vol") as error:
        find_target("tensorrt-rtx").export(replace(job, source=source))
    assert "no determinants" in error.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_options_of_the_full_tensorrt_are_refused_by_name():
    exporter = find_target("tensorrt-rtx")
    with pytest.raises(UsageError, match="takes no `hardware_compatible`"):
        Options(hardware_compatible=True).check_taken(exporter.target, exporter.takes, PRECISIONS)


def test_it_cannot_be_run_without_a_gpu_and_says_so(engine, monkeypatch):
    monkeypatch.setattr(engines, "num_gpus", lambda: 0)
    monkeypatch.setattr("compactmtl.board.engine.num_gpus", lambda: 0)
    exporter = find_target("tensorrt-rtx")
    assert "no NVIDIA GPU" in exporter.availability().why_not
    with pytest.raises(NotPossibleHereError, match="no NVIDIA GPU answers"):
        exporter.load(engine)
    engine.write_bytes(b"ftrt" + engine.read_bytes()[4:])
    with pytest.raises(CorruptFileError, match=r"engine of TensorRT 1\..*expected TensorRT-RTX"):
        exporter.load(engine)


def test_the_sidecar_is_plain_json_beside_an_untouched_plan(engine):
    document = json.loads(engine.with_name("model.rtx.engine.json").read_text())
    assert document["size_bytes"] == engine.stat().st_size
    assert engine.read_bytes()[:4] == b"vtrt"


def test_a_failing_write_leaves_the_earlier_engine(make, engine, monkeypatch):
    before = {path.name: path.read_bytes() for path in engine.parent.iterdir()}

    def full(self, mode):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "chmod", full)
    with pytest.raises(WriteError, match="No space left on device; earlier files are unchanged"):
        find_target("tensorrt-rtx").export(make(Options(batch=(1, 2, 4))))
    assert {path.name: path.read_bytes() for path in engine.parent.iterdir()} == before


def test_a_kill_while_it_builds_leaves_nothing(make, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("compactmtl.board.artefact.build", interrupted)
    job = make()
    with pytest.raises(KeyboardInterrupt):
        find_target("tensorrt-rtx").export(job)
    assert list(job.path.parent.iterdir()) == []
