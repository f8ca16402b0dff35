"""`tegrastats` as a child: what it says is kept, it is gone afterwards, its absence is said."""

import os
import time

import pytest
from simulated_jetson import put_program, put_programs

from compactmtl.board.jetson.sampler import Sampler


def wait_for(condition):
    for _ in range(100):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen within 5 s")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def is_gone(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return False


def test_lines_come_with_rising_times_and_the_child_is_gone(programs):
    put_programs(programs, lines=["one", "two"])
    with Sampler() as sampler:
        wait_for(lambda: len(sampler.readings) >= 4)
        number = sampler._child.pid
    assert [each.line for each in sampler.readings[:4]] == ["one", "two", "two", "two"]
    times = [each.at_s for each in sampler.readings]
    assert times == sorted(times)
    assert sampler.why == ""
    assert is_gone(number)


def test_the_child_is_gone_when_the_block_fails(programs):
    put_programs(programs)
    with pytest.raises(ZeroDivisionError), Sampler() as sampler:
        raise ZeroDivisionError
    assert is_gone(sampler._child.pid)


def test_a_child_that_will_not_go_is_killed(programs, monkeypatch):
    monkeypatch.setattr("compactmtl.board.jetson.sampler.END_SECONDS", 0.2)
    put_program(programs, "tegrastats", "trap '' TERM; while :; do echo x; sleep 0.1; done")
    with Sampler() as sampler:
        wait_for(lambda: sampler.readings)
    assert is_gone(sampler._child.pid)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "cannot be run: No such file"),
        ("exit 7", "ended by itself with exit code 7"),
        ("exec sleep 60", "printed nothing"),
    ],
)
def test_why_there_is_nothing(script, why, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if script:
        put_program(tmp_path, "tegrastats", script)
    with Sampler() as sampler:
        if script == "exit 7":
            wait_for(lambda: sampler._child.poll() is not None)
    assert sampler.readings == []
    assert why in sampler.why
