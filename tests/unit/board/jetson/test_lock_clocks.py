"""Clocks come back, whatever ends the measurement."""

import os
import signal

import pytest
from simulated_jetson import put_program

from compactmtl.board.errors import NotHereError
from compactmtl.board.jetson.lock_clocks import locked_clocks
from compactmtl.board.undo import undo_all


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Return a function that lists what `jetson_clocks` was asked for."""
    put_program(tmp_path, "jetson_clocks", f'echo "${{1:-lock}}" >> {tmp_path}/calls')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return lambda: (tmp_path / "calls").read_text().split()


ALL = ["--store", "lock", "--restore"]


def test_clocks_are_stored_locked_and_restored(calls):
    with locked_clocks():
        assert calls() == ALL[:2]
    assert calls() == ALL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_restores_them_and_the_handlers(number, calls):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), locked_clocks():
        os.kill(os.getpid(), number)
    assert calls() == ALL
    assert signal.getsignal(number) == before


def test_who_ends_the_process_can_restore_them(calls):
    with locked_clocks():
        undo_all()
        assert calls() == ALL


def test_an_error_restores_them(calls):
    with pytest.raises(ZeroDivisionError), locked_clocks():
        raise ZeroDivisionError
    assert calls() == ALL


def test_a_refusal_says_what_to_do_and_changes_nothing(calls, tmp_path):
    script = f'echo "$1" >> {tmp_path}/calls; echo "run as root" >&2; exit 1'
    put_program(tmp_path, "jetson_clocks", script)
    with pytest.raises(NotHereError, match="exit code 1: run as root") as error, locked_clocks():
        pytest.fail("the block must not run")
    assert "sudo" in error.value.hint
    assert calls() == ["--store"]


def test_without_the_program_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHereError, match="not here"), locked_clocks():
        pytest.fail("the block must not run")
