import sys

import numpy as np
import pytest

from compactmtl.board.bench import memory
from compactmtl.board.bench.memory import PeakMemory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak since a mark")
def test_what_a_block_adds_at_its_peak_is_seen_after_it_is_gone():
    found = PeakMemory()
    mark = found.mark()
    if mark is None:
        pytest.skip("this system does not let a process reset its peak")
    held = np.ones(200 * 2**17)  # 200 MiB: beside it, what else comes and goes here is little
    held.sum()
    del held
    assert 100 < found.added(mark) < 300
    mark = found.mark()
    assert found.added(mark) < 100  # the earlier peak is not this block's
    assert found.total() > mark  # and not forgotten


def test_what_cannot_be_read_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "none" / "clear_refs")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    found = PeakMemory()
    assert found.mark() is None
    assert found.added(None) is None
    assert found.total() > 1  # what the system's own account says
    monkeypatch.setattr(memory, "_rusage", lambda: None)
    assert PeakMemory().total() is None
