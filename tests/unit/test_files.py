"""Files are whole or untouched, and say what is wrong in one line."""

import errno
import hashlib
import os
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactmtl.errors import CorruptFileError, DiskFullError, MissingFileError, WriteError
from compactmtl.files import (
    atomic_write,
    make_folder,
    read_json,
    sha256,
    uninterrupted,
    write_error,
    write_json,
    write_text,
    write_together,
)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def earlier(tmp_path) -> Path:
    path = tmp_path / "file.json"
    path.write_bytes(b"earlier")
    return path


def test_write_replaces_the_earlier_file(earlier):
    write_text(earlier, "later\u00e9")
    assert everything(earlier.parent) == {"file.json": "later\u00e9".encode()}


def test_write_makes_the_folder(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a/b/c.txt").read_text() == "x"


def fail_halfway(path: Path, failure: type[BaseException]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"half")
        raise failure


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_failure_in_the_block_leaves_the_earlier_file(earlier, failure):
    with pytest.raises(failure):
        fail_halfway(earlier, failure)
    assert everything(earlier.parent) == {"file.json": b"earlier"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, DiskFullError), (errno.EDQUOT, DiskFullError), (errno.EACCES, WriteError)],
)
def test_system_error_is_one_line_and_leaves_the_earlier_file(earlier, code, kind):
    with pytest.raises(kind, match="earlier files are unchanged") as caught, atomic_write(earlier):
        raise OSError(code, os.strerror(code))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert everything(earlier.parent) == {"file.json": b"earlier"}


def test_full_disk_is_found_for_real(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with (
        pytest.raises(OSError, match="No space left") as caught,
        Path("/dev/full").open("w") as full,
    ):
        full.write("x" * 10**6)
    assert isinstance(write_error(tmp_path, caught.value), DiskFullError)


def test_folder_below_a_file_cannot_be_written(earlier):
    with pytest.raises(WriteError):
        write_text(earlier / "below.txt", "x")
    with pytest.raises(WriteError):
        make_folder(earlier)
    assert everything(earlier.parent) == {"file.json": b"earlier"}


def test_read_only_folder_is_a_write_error(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(WriteError, match="Permission denied"):
        write_text(tmp_path / "x", "x")


def test_file_gets_the_usual_permissions(tmp_path):
    write_text(tmp_path / "ours", "x")
    (tmp_path / "usual").write_text("x")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_link_target_survives(tmp_path):
    (tmp_path / "target").write_text("target")
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "target"
    assert (tmp_path / "link").read_text() == "new"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(document=JSON)
def test_json_round_trip(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("json") / "x.json"
    write_json(path, document)
    assert read_json(path) == document


def test_json_without_nan(earlier):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(earlier, {"loss": float("nan")})
    assert everything(earlier.parent) == {"file.json": b"earlier"}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'a': 1}"])
def test_broken_json_is_corrupt(earlier, content):
    earlier.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"file\.json"):
        read_json(earlier)


def test_a_folder_and_what_lies_below_a_file_cannot_be_read(earlier):
    for read in (read_json, sha256):
        with pytest.raises(MissingFileError, match="is a folder"):
            read(earlier.parent)
        with pytest.raises(MissingFileError, match="no such file"):
            read(earlier / "below")


def test_json_nested_beyond_any_use_is_corrupt(earlier):
    earlier.write_text("[" * 100_000)
    with pytest.raises(CorruptFileError):
        read_json(earlier)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_the_block_is_done(number):
    done = []

    def swap() -> None:
        with uninterrupted():
            signal.raise_signal(number)
            done.append("first")
            signal.raise_signal(number)
            done.append("second")

    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            swap()
        assert done == ["first", "second"]
        with pytest.raises(KeyboardInterrupt):  # the handler is back
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)


def test_an_interrupt_elsewhere_than_in_the_main_thread_is_nobodys():
    with ThreadPoolExecutor(1) as pool:

        def quiet() -> int:
            with uninterrupted():
                return 3

        assert pool.submit(quiet).result() == 3


@pytest.mark.parametrize("read", [read_json, sha256])
def test_missing_file_is_named(tmp_path, read):
    with pytest.raises(MissingFileError, match="nowhere"):
        read(tmp_path / "nowhere")


@settings(max_examples=20, deadline=None)
@given(content=st.binary(max_size=5000))
def test_sha256_is_that_of_the_bytes(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("sha") / "x"
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()
    path.write_bytes(content + b"x")
    assert sha256(path) != hashlib.sha256(content).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def fill(folder: Path, content: bytes) -> None:
    (folder / "model.xml").write_bytes(content)
    (folder / "model.bin").write_bytes(content)
    (folder / "model.package").mkdir()
    (folder / "model.package" / "part").write_bytes(content)


def test_files_and_folders_written_together_replace_the_earlier_ones(tmp_path):
    (tmp_path / "stays").write_bytes(b"")
    for content in (b"earlier", b"later"):
        with write_together(tmp_path / "model.xml") as folder:
            fill(folder, content)
        names = ("model.xml", "model.bin", "model.package/part")
        assert contents(tmp_path) == {"stays": b"", **dict.fromkeys(names, content)}


def fail_together(path: Path, failure: type[BaseException]) -> None:
    with write_together(path) as folder:
        fill(folder, b"later")
        raise failure


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, OSError])
def test_nothing_of_what_is_written_together_stays_after_a_failure(tmp_path, failure):
    fill(tmp_path, b"earlier")
    before = contents(tmp_path)
    with pytest.raises(WriteError if failure is OSError else failure):
        fail_together(tmp_path / "model.xml", failure)
    assert contents(tmp_path) == before


def test_a_full_disk_within_names_the_file_that_was_asked_for(tmp_path):
    full = OSError(errno.ENOSPC, "full")
    with (
        pytest.raises(DiskFullError, match=r"model\.xml`; earlier") as error,
        write_together(tmp_path / "model.xml"),
    ):
        raise write_error(tmp_path / ".temporary", full) from full
    assert "temporary" not in error.value.message
