"""Commands and files over a real ssh connection to a server on this machine."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from compactmtl.errors import (
    CorruptFileError,
    DiskFullError,
    MissingExtraError,
    NotPossibleHereError,
    UsageError,
)
from compactmtl.remote.application import NAME, make_application
from compactmtl.remote.folder import remote_folder
from compactmtl.remote.ssh import Host, RemoteCommandError

HOST = Host("board")


def put_in_path(board, name, script):
    path = board.programs / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_arguments_arrive_as_they_are(board):
    awkward = ["a b", "'", '"', "$HOME", "`id`", "; false", "*", "", "é\n"]
    out = HOST.run([sys.executable, "-c", "import sys; print(sys.argv[1:])", *awkward])
    assert out.decode().strip() == str(awkward)


def test_a_failed_command_tells_code_and_words(board):
    with pytest.raises(RemoteCommandError) as error:
        HOST.run(["sh", "-c", "echo one >&2; echo two >&2; exit 7"])
    assert (error.value.code, error.value.stderr) == (7, ["one", "two"])


def test_files_go_there_and_come_back_whole(board, tmp_path):
    content = bytes(range(256)) * 4000  # more than one window of the connection
    (tmp_path / "here.bin").write_bytes(content)
    with remote_folder(HOST) as folder:
        folder.send({"a b.bin": tmp_path / "here.bin", "text": b"words"})
        assert folder.run(["cat", "text"]) == b"words"
        assert folder.fetch(["a b.bin", "text"]) == {"a b.bin": content, "text": b"words"}
        with pytest.raises(NotPossibleHereError, match="does not hand over none"):
            folder.fetch(["none"])
        assert len(list(board.home.iterdir())) == 1
    assert list(board.home.iterdir()) == []


def test_the_folder_goes_away_when_something_fails_and_what_runs_there_stops(board):
    def stay_and_fail():
        with remote_folder(HOST) as folder:
            folder.run(["sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $! > pid"])
            numbers.append(int((board.home / folder.path / "pid").read_text()))
            raise ZeroDivisionError

    numbers = []
    with pytest.raises(ZeroDivisionError):
        stay_and_fail()
    (number,) = numbers
    assert list(board.home.iterdir()) == []
    for _ in range(50):
        state = Path(f"/proc/{number}/stat")
        if not state.exists() or " Z " in state.read_text():  # gone, or waiting to be reaped
            return
        time.sleep(0.1)
    pytest.fail("the process on the board still runs")


def test_hosts_that_do_not_answer_are_one_line(board, monkeypatch):
    with pytest.raises(NotPossibleHereError, match=r"`nowhere` does not answer: .*refused"):
        Host("nowhere").run(["true"])
    monkeypatch.setenv("COMPACTMTL_SSH", "no-such-program")
    with pytest.raises(MissingExtraError, match="`no-such-program` is not installed"):
        HOST.run(["true"])


@pytest.mark.parametrize("address", ["", "-oProxyCommand=id", "a b", "host\nid"])
def test_options_and_commands_are_no_hosts(address):
    with pytest.raises(UsageError, match="is no host"):
        Host(address)


def test_a_full_disk_is_said(board):
    put_in_path(board, "tar", "echo 'tar: x: Cannot write: No space left on device' >&2; exit 2")
    with pytest.raises(DiskFullError, match="`board` has no room"), remote_folder(HOST) as folder:
        folder.send({"x": b"1"})
    assert list(board.home.iterdir()) == []


def test_what_is_no_archive_is_refused(board):
    with remote_folder(HOST) as folder:
        put_in_path(board, "tar", "echo not an archive")
        with pytest.raises(CorruptFileError, match="is no archive"):
            folder.fetch(["x"])
        put_in_path(board, "tar", "cd /; exec /usr/bin/tar -cf - etc/hostname")
        with pytest.raises(CorruptFileError, match="expected x"):
            folder.fetch(["x"])


def test_a_strange_answer_makes_no_folder(board):
    put_in_path(board, "mktemp", "echo welcome to the board")
    with (
        pytest.raises(NotPossibleHereError, match="expected a folder"),
        remote_folder(HOST),
    ):
        pass


def test_the_application_runs_alone_and_is_the_same_each_time(tmp_path):
    content = make_application()
    assert content == make_application()
    (tmp_path / NAME).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-I", NAME, "build", "x.onnx", "--batch", "0"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "no range of batch sizes" in done.stderr) == (2, True), done.stderr
