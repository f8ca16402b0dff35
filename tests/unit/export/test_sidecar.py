import json

import pytest

from compactmtl.errors import CorruptFileError, MissingFileError
from compactmtl.export.sidecar import (
    InputSpec,
    OutputSpec,
    Parent,
    Sidecar,
    TaskParity,
    Verified,
    read_sidecar,
    write_sidecar,
)


@pytest.fixture
def sidecar():
    parity = TaskParity(max_rel_error=1e-7, rel_rms=1e-8, bound=4e-7, torch_fp32_error=1e-7)
    return Sidecar(
        artefact="model.onnx",
        kind="onnx",
        which="compact",
        sha256="a" * 64,
        size_bytes=12,
        parent=Parent(file="model.pt2", sha256="b" * 64),
        opset=20,
        inputs=[InputSpec(name="image", shape=["batch", 3, 4, 5], dtype="float32", layout="NCHW")],
        outputs=[OutputSpec(name="seg", shape=["batch", 2], dtype="float32")],
        verified=Verified(status="ran", runtime="r 1", per_task={"seg": parity}, cases=[]),
        versions={"torch": "2", "onnx": None},
    )


def test_round_trip(tmp_path, sidecar):
    path = write_sidecar(tmp_path / "model.onnx", sidecar)
    assert path.name == "model.onnx.json"
    assert read_sidecar(tmp_path / "model.onnx") == sidecar


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format version 2, expected 1"),
        ({"surprise": 1}, "`surprise`"),
        ({"parent": None}, "`parent`"),
    ],
)
def test_another_document_is_refused(tmp_path, sidecar, change, message):
    path = write_sidecar(tmp_path / "model.onnx", sidecar)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CorruptFileError, match=message):
        read_sidecar(tmp_path / "model.onnx")


def test_a_missing_one_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"model\.onnx\.json"):
        read_sidecar(tmp_path / "model.onnx")
