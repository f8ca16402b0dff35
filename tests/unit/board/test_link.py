"""A process that is linked ends with its link: at its end, or when it is silent for too long."""

import os
import subprocess
import sys
import threading

import pytest

from compactmtl.board import link
from compactmtl.board.link import INTERRUPTED, Link
from compactmtl.board.undo import to_undo, undo_all


@pytest.fixture
def pipe():
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb", buffering=0), os.fdopen(writes, "wb", buffering=0) as end:
        yield reads, end


@pytest.fixture
def made(tmp_path, pipe, monkeypatch):
    """A link on a pipe that notes what it does instead of ending the tests."""
    monkeypatch.setattr(link, "_be_silent", lambda: None)
    folder = tmp_path / "compactmtl.abc"
    folder.mkdir()
    (folder / "board.pyz").write_bytes(b"")
    done = {"interrupted": threading.Event(), "left": threading.Event()}

    def make(**options):
        return Link(
            folder,
            stream=pipe[0],
            interrupt=done["interrupted"].set,
            leave=lambda code: (done.update(code=code), done["left"].set()),
            **options,
        )

    return make, folder, done, pipe[1]


def test_the_end_of_the_stream_ends_the_process_and_its_folder(made):
    make, folder, done, end = made
    with make() as found:
        end.write(b"\n")
        end.close()
        assert done["interrupted"].wait(30)
        assert folder.is_dir()  # what runs may still need it
    assert found.is_lost
    assert not folder.exists()


def test_a_link_that_holds_leaves_all_as_it_is(made):
    make, folder, done, end = made
    with make() as found:
        end.write(b"\n")
    end.close()
    found._thread.join(30)
    assert not found.is_lost
    assert not done["interrupted"].is_set()
    assert folder.is_dir()


def test_silence_is_an_end_too_and_bytes_are_none(made):
    make, _, done, end = made
    with make(silent_s=0.5) as found:
        for _ in range(20):
            end.write(b"\n")
        assert done["interrupted"].wait(30)
    assert found.is_lost


def test_what_cannot_be_interrupted_is_undone_and_left(made):
    make, folder, done, end = made
    undone = []
    with to_undo(lambda: undone.append("clocks")), make(grace_s=0.01):
        end.close()
        assert done["left"].wait(30)
        assert done["code"] == INTERRUPTED
        assert undone == ["clocks"]
        assert not folder.exists()


def test_what_is_left_in_order_is_not_undone_again():
    undone = []
    with to_undo(lambda: undone.append(1)):
        with to_undo(lambda: undone.append(2)):
            pass
        with to_undo(lambda: undone.append(3)):
            undo_all()
    undo_all()
    assert undone == [3, 1]


def test_the_boards_command_ends_with_its_standard_input(tmp_path):
    folder = tmp_path / "compactmtl.abc"
    folder.mkdir()
    code = (
        "import sys, time; from compactmtl.board import command\n"
        "def wait(asked, say):\n"
        "    say('waits')\n"
        "    time.sleep(600)\n"
        "command._verify_verb = wait\n"
        "sys.exit(command.main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "--linked", str(folder), "verify", "x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "waits\n"
        process.stdin.close()
        assert process.wait(60) == INTERRUPTED
        assert process.stderr.read() == ""  # to nobody, who has gone
    assert not folder.exists()
