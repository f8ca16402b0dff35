"""Optional loggers."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from compactmtl.errors import MissingExtraError, PartError
from compactmtl.training.loggers import make_loggers


def test_tensorboard_gets_every_number_of_every_epoch(train):
    result = train(fit_args={"loggers": ["tensorboard"]})
    events = EventAccumulator(str(result.run_dir / "tensorboard"))
    events.Reload()
    losses = events.Scalars("loss/seg")
    assert [event.step for event in losses] == [1, 2]
    assert losses[1].value == pytest.approx(result.history[1]["loss"]["seg"])
    assert "val/depth/abs_err" in events.Tags()["scalars"]


def test_a_logger_of_the_users_own_is_taken_as_it_is(train):
    from lightning_fabric.loggers.csv_logs import CSVLogger

    class Mine(CSVLogger):
        def __init__(self):
            self.rows = []

        def log_metrics(self, metrics, step=None):
            self.rows.append((step, metrics))

        def finalize(self, status):
            self.rows.append(status)

    mine = Mine()
    train(fit_args={"loggers": [mine]})
    assert [row[0] for row in mine.rows[:2]] == [1, 2]
    assert mine.rows[2] == "success"


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_names_its_extra(tmp_path, name, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    monkeypatch.setitem(__import__("sys").modules, "pytorch_lightning.loggers", None)
    with pytest.raises(MissingExtraError, match=f"logger `{name}`") as caught:
        make_loggers([name], tmp_path)
    assert f"compactmtl[{name}]" in caught.value.hint


def test_an_unknown_logger_is_refused(tmp_path):
    with pytest.raises(PartError, match="did you mean `tensorboard`"):
        make_loggers(["tensorbord"], tmp_path)
