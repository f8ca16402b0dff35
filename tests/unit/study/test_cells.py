"""The processes of a study's runs: what they are told, and what a killed study leaves behind."""

import fcntl
import subprocess
import sys
import threading

import pytest

from compactmtl.study import cells as module
from compactmtl.study.cells import make_cells, run_cells
from compactmtl.study.subjects import parse_subject

REAL_FLOCK = fcntl.flock
ORPHAN = "import pathlib, sys; sys.stdin.read(); pathlib.Path(sys.argv[1]).write_text('{}')"


@pytest.fixture
def cell(tmp_path):
    (cell,) = make_cells([parse_subject("a=rooms-smoke")], 1, tmp_path)
    cell.folder.mkdir(parents=True)
    return cell


@pytest.fixture
def verbs(cell, monkeypatch):
    """Return the verbs that were run; each finds its run locked."""
    seen = []

    def fake_run(command, **options):
        verb = command[3]
        seen.append(verb)
        (lock,) = options["pass_fds"]
        with (cell.folder / module.LOCK).open("w") as rival, pytest.raises(BlockingIOError):
            fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert lock > 2
        if verb == "train":
            assert not cell.run.exists()
            cell.run.mkdir()
            (cell.run / "ckpt.pt").touch()
        else:
            cell.scores.parent.mkdir()
            cell.scores.write_text("{}")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(module.subprocess, "run", fake_run)
    return seen


def run(cell):
    run_cells([cell], jobs=1, devices=["cpu"], on_done=lambda cell: None)


def test_a_run_killed_before_its_first_epoch_starts_again(cell, verbs):
    cell.run.mkdir()
    (cell.run / "run.json").write_text('{"status": "running"}')
    run(cell)
    assert verbs == ["train", "evaluate"]


def test_a_run_that_a_killed_study_left_behind_is_waited_for(cell, verbs, monkeypatch):
    cell.scores.parent.mkdir()
    arrived = threading.Event()
    with (cell.folder / module.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        orphan = subprocess.Popen(
            [sys.executable, "-c", ORPHAN, str(cell.scores)],
            stdin=subprocess.PIPE,
            pass_fds=(lock.fileno(),),
        )

    def flock(*args):
        arrived.set()
        REAL_FLOCK(*args)

    monkeypatch.setattr(module.fcntl, "flock", flock)
    going_on = threading.Thread(target=run, args=(cell,))
    going_on.start()
    assert arrived.wait(60)
    assert not cell.is_done
    orphan.communicate()
    going_on.join(60)
    assert not going_on.is_alive()
    assert cell.is_done
    assert verbs == []  # trained once, by the process that was left
