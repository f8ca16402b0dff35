import gc
import os
import signal
from collections.abc import Iterator

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script, tests ignore Ctrl-C, and so would what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def short_collections() -> None:
    """Spare what is imported by now from being searched for rubbish: `compress` looks each time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let the interpreter find at its end what was spared."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def restored_environment() -> Iterator[None]:
    """Undo what a test did to the environment: `--data` sets a variable for its process.

    Tests begin without a width for tables: who runs them may have set one.
    """
    before = dict(os.environ)
    os.environ.pop("COLUMNS", None)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A board on this machine that `ssh board` leads to."""
    from local_board import has_ssh, local_board  # brings an ssh server

    if not has_ssh():
        pytest.skip("there is no ssh client on this machine")
    with local_board(tmp_path / "board", monkeypatch) as started:
        yield started


@pytest.fixture
def jetson(board, tmp_path):
    """That board, simulating a Jetson Orin Nano whose rails rise after the first second."""
    from jetson_lines import ORIN_NANO
    from simulated_jetson import make_root, put_programs

    from compactmtl.board.jetson.watch import ROOT_VARIABLE

    board.root = make_root(tmp_path / "jetson")
    board.environment[ROOT_VARIABLE] = str(board.root)
    idle = [ORIN_NANO.replace("VDD_IN 5251mW", "VDD_IN 3000mW")] * 10
    put_programs(board.programs, lines=[*idle, ORIN_NANO])
    return board
