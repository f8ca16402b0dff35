"""The run's own logs."""

import csv
import json
import math

import pytest

from compactmtl.errors import CorruptFileError
from compactmtl.training.logs import finite, flatten, read_log, write_logs

HISTORY = [
    {"epoch": 1, "loss": {"a": 0.5}, "sparsity": None, "m_reach": {"a": 0.1}},
    {"epoch": 2, "loss": {"a": math.nan}, "sparsity": {"zero_groups": 3}},
]


def test_both_logs_hold_every_record(tmp_path):
    write_logs(tmp_path, HISTORY)
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == read_log(tmp_path)
    assert read_log(tmp_path)[1] == {
        "epoch": 2,
        "loss": {"a": None},
        "sparsity": {"zero_groups": 3},
    }
    with (tmp_path / "log.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["epoch", "loss/a", "m_reach/a", "sparsity/zero_groups"]
    assert rows[0]["sparsity/zero_groups"] == ""
    assert rows[1]["sparsity/zero_groups"] == "3"


def test_writing_again_replaces_what_a_killed_run_left(tmp_path):
    write_logs(tmp_path, HISTORY)
    write_logs(tmp_path, HISTORY[:1])
    assert len(read_log(tmp_path)) == 1


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"epoch": 1}\n{"epo', encoding="utf-8")
    with pytest.raises(CorruptFileError, match="line 2"):
        read_log(tmp_path)
    assert read_log(tmp_path / "none") == []


def test_flatten_and_finite():
    assert flatten({"a": {"b": {"c": 1}, "d": None}, "e": 2}) == {"a/b/c": 1, "e": 2}
    assert finite({"a": [math.inf, 1.0], "b": (math.nan,)}) == {"a": [None, 1.0], "b": [None]}
