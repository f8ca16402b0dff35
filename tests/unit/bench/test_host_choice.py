"""Which files of a folder a board measures, by what its `doctor` says: no board is asked here."""

import json

import pytest

from compactmtl.bench.on_host import _gpus, _why_not
from compactmtl.board.files import sha256
from compactmtl.board.nvml import Gpu
from compactmtl.errors import CorruptFileError
from compactmtl.remote.ssh import Host

ORIN = {"name": "Orin", "compute_capability": "8.7"}
PLAN = b"ftrt" + bytes(20) + bytes([10, 3, 0, 26]) + b"weights"


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "model.engine"
    path.write_bytes(PLAN)
    build = {"compute_capabilities": ["8.9"], "flags": []}
    document = {"sha256": sha256(PLAN), "build": build}
    path.with_name("model.engine.json").write_text(json.dumps(document))
    return path


def test_an_engine_of_another_gpu_is_left_out(engine):
    installed = {"tensorrt": "10.3.0"}
    gpus = _gpus(Host("board"), {"gpu_kinds": [ORIN]})
    assert gpus == [Gpu("Orin", "8.7")]
    assert _why_not(installed, gpus, "board", engine) == (
        "`model.engine` is for GPUs of compute capability 8.9; the one on `board` has 8.7 (Orin)"
    )
    assert _why_not(installed, [], "board", engine) == ""  # not known: it is tried
    assert _why_not(installed, [Gpu("Ada", "8.9")], "board", engine) == ""
    assert "tensorrt is not installed" in _why_not({}, gpus, "board", engine)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"gpu_kinds": None},
        {"gpu_kinds": [{}]},
        {"gpu_kinds": [ORIN | {"compute_capability": 8}]},
    ]
    + [{"gpu_kinds": [ORIN | {"compute_capability": text}]} for text in ("", "x", "8.7\n")],
)
def test_what_a_board_says_of_its_gpus_is_checked(found):
    with pytest.raises(CorruptFileError, match="does not say which GPUs it has"):
        _gpus(Host("board"), found)
