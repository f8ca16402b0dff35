"""The processes of a study's runs: what they are told, and what a killed study leaves behind."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from compactmtl.errors import StoppedError, TrainingError
from compactmtl.study import steps as module
from compactmtl.study.cells import make_cells
from compactmtl.study.children import Children
from compactmtl.study.running import run_cells
from compactmtl.study.subjects import parse_subject

ORPHAN = "import pathlib, sys; sys.stdin.read(); pathlib.Path(sys.argv[1]).write_text('{}')"
WAIT_FOREVER = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"


@pytest.fixture
def cell(tmp_path):
    (cell,) = make_cells([parse_subject("a=rooms-smoke")], 1, tmp_path)
    cell.folder.mkdir(parents=True)
    return cell


@pytest.fixture
def verbs(cell, monkeypatch):
    """Return the verbs that were run; each finds its run locked."""
    seen = []

    def fake_run(self, command, **options):
        verb = command[3]
        seen.append(verb)
        (lock,) = options["pass_fds"]
        with (cell.folder / module.LOCK).open("w") as rival, pytest.raises(BlockingIOError):
            fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert lock > 2
        made = {"train": "run/ckpt.pt", "evaluate": "evaluation/evaluation.json"}
        made |= {"compress": "compact/report.json", "export": "compact/dense.onnx.json"}
        path = cell.folder / made[verb]
        assert verb == "export" or not path.parent.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        return 0

    monkeypatch.setattr(Children, "run", fake_run)
    return seen


def run(*cells, **options):
    run_cells(cells, jobs=1, devices=["cpu"], on_done=lambda cell: None, **options)


def test_a_run_killed_before_its_first_epoch_starts_again(cell, verbs):
    cell.run.mkdir()
    (cell.run / "run.json").write_text('{"status": "running"}')
    run(cell)
    assert verbs == ["train", "evaluate"]


def test_a_run_that_compiles_goes_on_at_the_step_where_it_was(cell, verbs):
    compiled = replace(cell, until="exported")
    run(compiled)
    assert verbs == ["train", "evaluate", "compress", "export"]
    (cell.compact / "dense.onnx.json").unlink()
    assert cell.is_done
    assert not compiled.is_done
    run(compiled)
    assert verbs[4:] == ["export"]  # the scores and the model stand


@pytest.mark.parametrize("own", [None, "3"])
def test_runs_share_the_cores_unless_the_user_has_said_how_many(cell, monkeypatch, own):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if own is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    monkeypatch.setattr("compactmtl.study.running.usable_cores", lambda: 8)
    found = []
    monkeypatch.setattr(Children, "run", lambda self, _, *, env, **more: found.append(env) or 1)
    with pytest.raises(TrainingError):
        run_cells([cell], jobs=2, devices=["cpu"], on_done=lambda cell: None)
    assert found[0]["OMP_NUM_THREADS"] == (own or "4")


def test_a_failing_run_stops_the_others_only_where_nobody_asks_for_it(tmp_path, monkeypatch):
    subjects = [parse_subject("a=rooms-smoke"), parse_subject("b=rooms-smoke")]
    cells = make_cells(subjects, 1, tmp_path)

    def fails_on_a(self, command, *, stdout, **options):
        if cells[0].folder.as_posix() in " ".join(command):
            stdout.write("news\nerror: no memory\nhint: buy some\n")
            return 22
        cells[1].scores.parent.mkdir(exist_ok=True)
        cells[1].scores.write_text("{}")
        return 0

    monkeypatch.setattr(Children, "run", fails_on_a)
    failed = {}
    run(*cells, on_failed=lambda cell, error: failed.update({cell.subject.label: error}))
    assert list(failed) == ["a"]
    assert failed["a"].message == "a, seed 0: no memory"
    assert str(cells[0].log) in failed["a"].hint
    assert cells[1].is_done
    with pytest.raises(TrainingError, match="a, seed 0: no memory"):
        run(*cells)


def test_an_interrupted_study_ends_its_processes(tmp_path):
    """They would train on for hours, and nobody would look at what they make."""
    children, codes = Children(), []
    started = tmp_path / "started"
    command = [sys.executable, "-c", WAIT_FOREVER, str(started)]
    waiting = threading.Thread(target=lambda: codes.append(children.run(command)))
    waiting.start()
    while not started.exists():
        assert waiting.is_alive()
    children.stop()
    waiting.join(60)
    assert codes == [-signal.SIGTERM]
    with pytest.raises(TrainingError, match="stopped"):
        children.run(command)


def wait_forever(monkeypatch, started):
    """Put a process that never ends in the place of every step."""
    real, command = Children.run, [sys.executable, "-c", WAIT_FOREVER, str(started)]
    monkeypatch.setattr(Children, "run", lambda self, _, **options: real(self, command, **options))


def test_a_scheduler_ends_a_study_with_its_processes(cell, tmp_path, monkeypatch):
    wait_forever(monkeypatch, tmp_path / "started")

    def tell():
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    telling = threading.Thread(target=tell)
    telling.start()
    with pytest.raises(StoppedError, match="stopped by SIGUSR1; what is finished stays"):
        run(cell)  # returns once the process has ended
    telling.join()
    assert not cell.is_done


def test_a_run_that_a_scheduler_ended_is_no_failure(cell, monkeypatch):
    monkeypatch.setattr(Children, "run", lambda *_, **__: StoppedError.exit_code)
    failed = []
    with pytest.raises(StoppedError, match="a, seed 0: a signal stopped it"):
        run(cell, on_failed=lambda *one: failed.append(one))
    assert failed == []


def test_a_run_that_a_killed_study_left_behind_is_waited_for(cell, verbs):
    cell.scores.parent.mkdir()
    arrived = threading.Event()
    with (cell.folder / module.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        orphan = subprocess.Popen(
            [sys.executable, "-c", ORPHAN, str(cell.scores)],
            stdin=subprocess.PIPE,
            pass_fds=(lock.fileno(),),
        )

    going_on = threading.Thread(
        target=run, args=(cell,), kwargs={"on_wait": lambda _: arrived.set()}
    )
    going_on.start()
    assert arrived.wait(60)
    assert not cell.is_done
    orphan.communicate()
    going_on.join(60)
    assert not going_on.is_alive()
    assert cell.is_done
    assert verbs == []  # trained once, by the process that was left


def test_a_study_that_is_stopped_while_it_waits_ends(cell, verbs):
    children = Children()
    with (cell.folder / module.LOCK).open("w") as rival:
        fcntl.flock(rival, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="the study was stopped"):
            module.run_cell(cell, "cpu", 1, children, lambda _: children.stop())
    assert verbs == []
