"""A runtime that hangs: said in one line, undone what must not stay, and left."""

import subprocess
import sys

import pytest

from compactmtl.board.bench.limit import TimeLimit
from compactmtl.board.errors import AskedError

HANGS = """
import time, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from compactmtl.board.bench.items import Item
from compactmtl.board.bench.limit import TimeLimit
from compactmtl.board.bench.run import Settings, measure
from compactmtl.board.tensors import InputInfo
from compactmtl.board.undo import to_undo
place, calls = sys.argv[1], 0
def run(inputs):
    global calls
    calls += 1
    if calls == {"first": 1, "later": 20}.get(place):
        time.sleep(600)  # in C, without Python's lock, as runtimes compute
    return {"y": np.zeros(1)}
class Session:
    inputs, runtime, device, load_ms = (InputInfo("x", (1, 1), "float32"),), "fake", "cpu", 1.0
    includes, device_clock = "nothing", None
    __call__ = staticmethod(run)
    def bind(self, inputs):
        return lambda: run(inputs)
def load():
    if place == "load":
        time.sleep(600)
    return Session()
with TimeLimit(0.2) as limit, to_undo(lambda: print("undone", flush=True)):
    measure({"model": Item(Path(sys.executable), load)},
            Settings(seconds=0, rounds=50), environment={}, limit=limit)
print("done")
"""


@pytest.mark.parametrize("place", ["load", "first", "later"])
def test_a_hung_runtime_ends_in_words(place):
    done = subprocess.run(
        [sys.executable, "-c", HANGS, place],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 21
    error, hint = done.stderr.splitlines()
    assert error == "error: `model` hangs: it did not return within 0.2 s; nothing was written"
    assert hint.startswith("hint: ")
    assert done.stdout == "undone\n"


def test_calls_that_return_are_let_be():
    left = []
    with TimeLimit(30.0, leave=left.append) as limit:
        for _ in range(100):
            with limit.during("a"):
                pass
    assert left == []


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_limits_that_are_none(seconds):
    with pytest.raises(AskedError, match="time limit"):
        TimeLimit(seconds)
