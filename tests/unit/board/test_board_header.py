"""What the first bytes of an engine say."""

import pytest

from compactmtl.board.errors import AbsentError, DamagedError
from compactmtl.board.header import check_header, read_header


def plan(tag, *version):
    return tag + bytes(20) + bytes(version) + b"and the rest"


@pytest.fixture
def engine(tmp_path):
    def write(content):
        path = tmp_path / "model.engine"
        path.write_bytes(content)
        return path

    return write


def test_flavour_and_version_are_read_without_tensorrt(engine):
    assert str(read_header(engine(plan(b"ftrt", 10, 3, 0, 26)))) == "TensorRT 10.3.0.26"
    assert str(read_header(engine(plan(b"vtrt", 1, 7, 1, 116)))) == "TensorRT-RTX 1.7.1.116"


@pytest.mark.parametrize("content", [b"", b"ftrt", b"ftrt" + bytes(20), plan(b"\x10\0\0\0", 10)])
def test_what_is_no_engine_is_refused(engine, content):
    with pytest.raises(DamagedError, match="is no TensorRT engine"):
        read_header(engine(content))


def test_an_absent_file_is_said_to_be_absent(tmp_path):
    with pytest.raises(AbsentError):
        read_header(tmp_path / "none.engine")


def test_an_engine_of_another_flavour_or_version_is_refused_by_both_names(engine):
    path = engine(plan(b"ftrt", 10, 3, 0, 26))
    check_header(path, "tensorrt", "10.3.0")
    check_header(path, "tensorrt", None)
    with pytest.raises(DamagedError, match=r"of TensorRT 10\.3\.0\.26, expected TensorRT-RTX 1\.7"):
        check_header(path, "rtx", "1.7.1.116")
    for other in ("10.3.1", "10.30", "11.4.0", "1"):
        with pytest.raises(DamagedError, match="expected TensorRT"):
            check_header(path, "tensorrt", other)
