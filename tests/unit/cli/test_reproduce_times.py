"""How `reproduce` says how long a plan takes."""

import pytest

from compactmtl.cli.console import console
from compactmtl.cli.reproduce_table import duration, show_estimates
from compactmtl.study.reproduce.estimate import Estimate


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59, "59 s"), (180, "3 min"), (3600, "60 min"), (9000, "2.5 h")],
)
def test_a_time_has_the_unit_that_suits_it(seconds, words):
    assert duration(seconds) == words


def test_the_time_of_a_row_counts_the_runs_that_are_left(capfd):
    console.configure(json=False, quiet=False)  # whatever was run before
    each = Estimate(10, step_s=0.1, task_step_s=0.0, eval_step_s=0.0, epoch_s=1.0, hours=0.05)
    show_estimates({"a": each, "b": each}, {"a": 2, "b": 0})
    printed = capfd.readouterr()
    lines = [line.split() for line in printed.out.splitlines()]
    assert [line[-2:] for line in lines[2:]] == [["6", "min"], ["0", "s"]]
    assert "in all about 6 min" in printed.err
