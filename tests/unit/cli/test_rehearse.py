"""How a study says how long its runs take."""

import pytest

from compactmtl.cli.console import console
from compactmtl.cli.rehearse import duration, rehearse, show_estimates
from compactmtl.study.controls import with_controls
from compactmtl.study.subjects import parse_subjects
from compactmtl.training.rehearsal import Estimate


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


SMALL = (
    "data.args={num_images=16, num_eval_images=8, height=16, width=16}", "data.num_workers=0",
    "model.name=segnet_s", "model.args={widths=[4, 4]}", "data.batch_size=8",
)  # fmt: skip


def test_only_what_has_runs_left_is_tried_and_controls_are_counted_apart(capfd):
    console.configure(json=False, quiet=False)
    subjects, _ = with_controls(parse_subjects(["rooms-dense", "rooms-sparse"], SMALL))
    left = dict.fromkeys((each.label for each in subjects), 2) | {"rooms-dense": 0}
    assert list(rehearse(subjects, left, "cpu")) == ["rooms-sparse", "rooms-dense-published"]
    assert "and 4 runs of controls come on top" in capfd.readouterr().err


def test_a_study_that_is_done_is_not_tried(capfd):
    subjects = parse_subjects(["rooms-dense", "rooms-fac"], SMALL)
    assert rehearse(subjects, {}, "cpu") == {}
    assert capfd.readouterr().out == ""
