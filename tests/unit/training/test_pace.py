"""When a checkpoint is due: by steps, by a clock that the test turns, or never."""

import pytest

from compactmtl.checkpoint import load_checkpoint
from compactmtl.errors import RecipeError
from compactmtl.recipe import TrainSection, parse
from compactmtl.training import NullReporter
from compactmtl.training.epoch import Pace


def test_steps_are_counted_from_the_last_save():
    pace = Pace(TrainSection(checkpoint_every="3 steps"))
    due = []
    for _ in range(7):
        due.append(pace.is_due())
        if due[-1]:
            pace.saved()
    assert due == [False, False, True, False, False, True, False]


def test_minutes_are_the_clocks():
    now = [50.0]
    pace = Pace(TrainSection(checkpoint_every="1.5 minutes"), clock=lambda: now[0])
    now[0] = 139.9
    assert not pace.is_due()
    now[0] = 140.0
    assert pace.is_due()
    pace.saved()
    assert not pace.is_due()


def test_by_default_nothing_is_due():
    pace = Pace(TrainSection(), clock=iter(range(10**6)).__next__)
    assert not any(pace.is_due() for _ in range(100))


@pytest.mark.parametrize(
    "text",
    ["200", "steps", "0 steps", "-1 steps", "1.5 steps", "10 min", "10  minutes", "0 minutes",
     "nan minutes", "1e3 steps", "ten minutes", "10 minutes ", ""],
)  # fmt: skip
def test_nonsense_is_refused_in_one_line_that_shows_how(make_recipe, text):
    document = make_recipe().to_dict()
    document["train"]["checkpoint_every"] = text
    with pytest.raises(
        RecipeError, match=r"`train\.checkpoint_every`: expected a number"
    ) as caught:
        parse(document, source="mine.toml")
    assert '"200 steps" or "10 minutes"' in str(caught.value)
    assert f"got {text!r}" in str(caught.value)


class Dies(NullReporter):
    def step(self, losses) -> None:
        self.done = getattr(self, "done", 0) + 1
        if self.done == 4:
            raise KeyboardInterrupt


def test_a_run_saves_as_often_as_it_is_told(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(
            fit_args={"run_dir": tmp_path / "run", "reporter": Dies()},
            train={"checkpoint_every": "3 steps"},
        )
    assert load_checkpoint(tmp_path / "run" / "ckpt.pt").position["step"] == 3
